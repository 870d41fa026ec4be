"""When unfinished uploads lapse: the arithmetic, and what the service makes of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.harness.bodies import ScriptedBody
from tests.harness.clients.service import NOW, ServiceClient, call_once
from tus_wsgi.domain.errors import (
    ClientDisconnected,
    OffsetMismatch,
    OnFinishFailed,
    TusError,
    UploadGone,
)
from tus_wsgi.domain.expiry import EXTENSION_THRESHOLD, expiry, extended_expiry, is_expired
from tus_wsgi.domain.interfaces import BodyEnd
from tus_wsgi.domain.model import State, UploadId, UploadInfo
from tus_wsgi.protocol.fields import build_date, parse_date
from tus_wsgi.stores.memory import MemoryStore

DAY = 86400.0

instants = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
lifetimes = st.floats(0.001, 400 * DAY)


def upload(expires: datetime | None, *, offset: int = 5) -> UploadInfo:
    return UploadInfo(UploadId("id"), length=10, offset=offset, expires=expires)


@pytest.mark.property
@given(now=instants, lifetime=lifetimes)
def test_the_field_says_exactly_what_is_recorded(now: datetime, lifetime: float) -> None:
    """EX-04: no upload lapses earlier than its client was told."""
    instant = expiry(now, lifetime)
    assert instant is not None
    assert parse_date(build_date(instant)) == instant
    late = instant - now - timedelta(seconds=lifetime)
    assert timedelta() <= late <= timedelta(seconds=1)


@pytest.mark.property
@given(now=instants, began=instants, lifetime=lifetimes)
def test_after_a_write_at_least_half_of_the_lifetime_is_left(
    now: datetime, began: datetime, lifetime: float
) -> None:
    """EX-06: and the instant never comes nearer by it."""
    before = expiry(began, lifetime)
    assert before is not None
    after = extended_expiry(upload(before), now, lifetime) or before
    assert after - now >= timedelta(seconds=lifetime * EXTENSION_THRESHOLD)
    assert after >= before


def test_nothing_lapses_where_nothing_is_set() -> None:
    assert expiry(NOW, 0.0) is None
    assert extended_expiry(upload(None), NOW, 0.0) is None
    assert extended_expiry(upload(NOW), NOW, 0.0) is None
    assert not is_expired(upload(None), NOW)


def test_an_upload_that_was_begun_without_a_lifetime_gets_one() -> None:
    assert extended_expiry(upload(None), NOW, DAY) == NOW + timedelta(days=1)


@pytest.mark.parametrize("state", State)
def test_what_is_full_neither_lapses_nor_moves(state: State) -> None:
    full = UploadInfo(UploadId("id"), 10, 10, state=state, expires=NOW - timedelta(days=1))
    assert not is_expired(full, NOW)
    assert extended_expiry(full, NOW, DAY) is None


def test_an_upload_lapses_at_the_instant_itself() -> None:
    """Not a moment before: until then the client was promised it would live."""
    assert not is_expired(upload(NOW), NOW - timedelta(microseconds=1))
    assert is_expired(upload(NOW), NOW)


# -- in the service --------------------------------------------------------------------------------


@pytest.fixture
def uploads() -> ServiceClient:
    return ServiceClient(MemoryStore(), lifetime=DAY)


def test_the_client_learns_it_from_every_reply(uploads: ServiceClient) -> None:
    """EX-02, EX-03, EX-07."""
    tomorrow = NOW + timedelta(days=1)
    created = uploads.create_upload(10)
    assert created.expires == tomorrow
    assert uploads.create_upload(10, b"abc").expires == tomorrow
    assert uploads.append(created.id, 0, b"abc").expires == tomorrow
    assert uploads.inspect(created.id).expires == tomorrow


def test_writing_keeps_an_upload_alive_for_as_long_as_it_takes(uploads: ServiceClient) -> None:
    """EX-06: and the record is rewritten once in half a lifetime, not at each request."""
    id = uploads.create(None)
    instants = set()
    for offset in range(100):
        uploads.advance_clock(DAY / 10)
        instants.add(uploads.append(id, offset, b"x").expires)
    assert len(instants) <= 21
    assert uploads.inspect(id).offset == 100


def test_looking_does_not_keep_it_alive(uploads: ServiceClient) -> None:
    id = uploads.create(10)
    uploads.advance_clock(DAY * 0.9)
    assert uploads.inspect(id).expires == NOW + timedelta(days=1)
    uploads.advance_clock(DAY * 0.1)
    with pytest.raises(UploadGone):
        uploads.inspect(id)


def test_a_lapsed_upload_is_gone(uploads: ServiceClient) -> None:
    """EX-05: whatever is asked, and nothing of a body is read."""
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


def test_a_finished_upload_never_lapses(uploads: ServiceClient) -> None:
    id = uploads.create(3, b"abc")
    empty = uploads.create(0)
    uploads.advance_clock(1000 * DAY)
    assert uploads.inspect(id).is_finished
    assert uploads.content(id) == b"abc"
    assert uploads.inspect(empty).is_finished


def test_a_full_upload_that_could_not_be_finished_never_lapses(uploads: ServiceClient) -> None:
    """The client sent every byte: it is for us to finish it."""
    id = uploads.create(3)
    uploads.finish_errors = [RuntimeError("not today")]
    with pytest.raises(OnFinishFailed):
        uploads.append(id, 0, b"abc")
    uploads.advance_clock(1000 * DAY)
    assert uploads.inspect(id).is_finished


def test_bytes_that_come_in_time_win(uploads: ServiceClient) -> None:
    """EX-08: the request moves the instant before it reads, so nobody sweeps beneath it."""
    id = uploads.create(10)
    uploads.advance_clock(DAY - 1)
    slow = ScriptedBody(b"abc", on_read=call_once(lambda: uploads.advance_clock(DAY / 2)))
    info = uploads.append(id, 0, slow)
    assert info.offset == 3
    assert info.expires is not None
    assert info.expires - uploads.clock >= timedelta(seconds=DAY * EXTENSION_THRESHOLD)


def test_bytes_that_come_slowly_count_from_the_last_of_them(uploads: ServiceClient) -> None:
    id = uploads.create(10)
    slow = ScriptedBody(
        b"abc",
        on_read=call_once(lambda: uploads.advance_clock(10 * DAY)),
        ending=BodyEnd.DISCONNECTED,
    )
    with pytest.raises(ClientDisconnected):
        uploads.append(id, 0, slow)
    uploads.advance_clock(DAY / 2)
    assert uploads.inspect(id).offset == 3


def test_a_refused_request_moves_nothing(uploads: ServiceClient) -> None:
    id = uploads.create(10)
    uploads.advance_clock(DAY * 0.9)
    with pytest.raises(OffsetMismatch):
        uploads.append(id, 7, b"abc")
    assert uploads.inspect(id).expires == NOW + timedelta(days=1)


def test_without_the_setting_uploads_live_for_ever() -> None:
    uploads = ServiceClient(MemoryStore())
    id = uploads.create(10)
    uploads.advance_clock(10_000 * DAY)
    assert uploads.append(id, 0, b"abc").expires is None
    with pytest.raises(TusError):
        uploads.content(id)
