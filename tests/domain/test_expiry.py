"""The expiry of unfinished uploads."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tus_wsgi.domain.expiry import EXTENSION_THRESHOLD, expiry, extended_expiry, is_expired
from tus_wsgi.domain.model import State, UploadId, UploadInfo
from tus_wsgi.protocol.fields import build_date, parse_date

DAY = 86400.0
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

times = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
lifetimes = st.floats(0.001, 400 * DAY)


def upload_that_expires(expires: datetime | None) -> UploadInfo:
    return UploadInfo(UploadId("id"), length=10, offset=5, expires=expires)


@pytest.mark.property
@given(now=times, lifetime=lifetimes)
def test_the_field_states_the_recorded_expiry_exactly(now: datetime, lifetime: float) -> None:
    """EX-04: no upload expires before the time that the client was given."""
    expires = expiry(now, lifetime)
    assert expires is not None
    assert parse_date(build_date(expires)) == expires
    rounding = expires - now - timedelta(seconds=lifetime)
    assert timedelta() <= rounding <= timedelta(seconds=1)


@pytest.mark.property
@given(now=times, created=times, lifetime=lifetimes)
def test_after_a_write_at_least_half_of_the_lifetime_is_left(
    now: datetime, created: datetime, lifetime: float
) -> None:
    """EX-06: a write never makes the upload expire earlier."""
    before = expiry(created, lifetime)
    assert before is not None
    after = extended_expiry(upload_that_expires(before), now, lifetime) or before
    assert after - now >= timedelta(seconds=lifetime * EXTENSION_THRESHOLD)
    assert after >= before


def test_without_a_lifetime_no_upload_expires() -> None:
    assert expiry(NOW, 0.0) is None
    assert extended_expiry(upload_that_expires(None), NOW, 0.0) is None
    assert extended_expiry(upload_that_expires(NOW), NOW, 0.0) is None
    assert not is_expired(upload_that_expires(None), NOW)


def test_an_upload_that_was_created_without_a_lifetime_gets_an_expiry() -> None:
    extended = extended_expiry(upload_that_expires(None), NOW, DAY)
    assert extended == NOW + timedelta(days=1)


@pytest.mark.parametrize("state", State)
def test_a_full_upload_does_not_expire_in_any_state(state: State) -> None:
    full = UploadInfo(UploadId("id"), 10, 10, state=state, expires=NOW - timedelta(days=1))
    assert not is_expired(full, NOW)
    assert extended_expiry(full, NOW, DAY) is None


def test_an_upload_expires_exactly_at_its_expiry() -> None:
    assert not is_expired(upload_that_expires(NOW), NOW - timedelta(microseconds=1))
    assert is_expired(upload_that_expires(NOW), NOW)
