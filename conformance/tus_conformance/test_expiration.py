"""Expiration of unfinished uploads."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import pytest

from .options import Options
from .rules import PRACTICE, SHOULD, needs, rule
from .server import Server, some_bytes

# Not "expiration": only the server at --expiring-url has to offer it.
pytestmark = needs("creation", "expires")

# RFC 9110, section 5.6.7: IMF-fixdate.
DATE = (
    r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), [0-9]{2} "
    r"(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT"
)


def parse_date(text: str | None) -> datetime:
    """Parse an HTTP date."""
    assert text is not None, "expected Upload-Expires"
    assert re.fullmatch(DATE, text), f"expected an HTTP date, got {text!r}"
    return parsedate_to_datetime(text)


def assert_date(text: str | None, options: Options) -> None:
    """Fail unless the date is `--expires` seconds from now, within two seconds."""
    assert options.expires is not None
    remaining = (parse_date(text) - datetime.now(UTC)).total_seconds()
    assert -2 <= remaining <= options.expires + 2


@rule("EX-01")
def test_a_server_that_removes_uploads_offers_expiration(expiring_server: Server) -> None:
    assert "expiration" in expiring_server.capabilities().extensions


@rule("EX-03", "EX-04")
def test_a_creation_returns_upload_expires(expiring_server: Server, options: Options) -> None:
    assert_date(expiring_server.post({"Upload-Length": "5"}).get("Upload-Expires"), options)


@rule("EX-02", "EX-04")
def test_every_patch_returns_upload_expires(expiring_server: Server, options: Options) -> None:
    upload = expiring_server.create(5)
    for offset in range(4):
        assert_date(upload.patch(b"x", offset).get("Upload-Expires"), options)


@rule("EX-07", level=PRACTICE)
def test_head_returns_upload_expires(expiring_server: Server, options: Options) -> None:
    assert_date(expiring_server.create(5).head().get("Upload-Expires"), options)


@rule("EX-03", "EX-04", level=PRACTICE, needs="creation-defer-length")
def test_the_creation_of_a_deferred_upload_returns_upload_expires(
    expiring_server: Server, options: Options
) -> None:
    assert_date(expiring_server.post({"Upload-Defer-Length": "1"}).get("Upload-Expires"), options)


def statuses_after_expiry(
    expiring_server: Server, options: Options, sent: bytes = b"he"
) -> list[int]:
    """Return the statuses of HEAD and PATCH for an expired upload."""
    assert options.expires is not None
    upload = expiring_server.create(5)
    if sent:
        upload.append(sent)
    time.sleep(options.expires + 1.5)
    head = upload.head()
    assert "Upload-Offset" not in head
    return [head.status, upload.patch(b"llo", len(sent)).status]


@rule("EX-05", "EX-01", level=SHOULD)
@pytest.mark.parametrize("sent", [b"", b"he"], ids=["empty", "begun"])
def test_an_expired_upload_is_gone(expiring_server: Server, options: Options, sent: bytes) -> None:
    assert set(statuses_after_expiry(expiring_server, options, sent)) <= {404, 410}


@rule("EX-06", level=PRACTICE)
def test_a_complete_upload_does_not_expire(expiring_server: Server, options: Options) -> None:
    assert options.expires is not None
    upload = expiring_server.upload(b"hello")
    time.sleep(options.expires + 1.5)
    upload.assert_content(b"hello")


@rule("EX-06", level=PRACTICE)
def test_an_upload_does_not_expire_before_its_date(
    expiring_server: Server, options: Options
) -> None:
    """A response may move the date; the upload must not expire before the latest one."""
    assert options.expires is not None
    upload = expiring_server.create(5)
    deadline = parse_date(upload.head().get("Upload-Expires"))
    for offset, octet in enumerate(b"hello"):
        response = upload.patch(bytes((octet,)), offset)
        if datetime.now(UTC) > deadline:
            assert response.status in {204, 404, 410}
            return
        assert response.status == 204
        expires = response.get("Upload-Expires")
        deadline = parse_date(expires) if expires else deadline
        time.sleep(options.expires / 3)


@rule("EX-08", level=PRACTICE)
def test_a_patch_at_the_moment_of_expiry_succeeds_or_fails_completely(
    expiring_server: Server, options: Options
) -> None:
    assert options.expires is not None
    content = some_bytes(100)
    upload = expiring_server.create(len(content))
    sent = 0
    with upload.connect() as connection:
        upload.begin_patch(connection, b"", 0, content_length=len(content))
        end = time.monotonic() + options.expires + 1
        # Sends a byte at a time, so that the idle timeout does not end the request.
        while time.monotonic() < end and sent < len(content) - 1:
            connection.send(content[sent : sent + 1])
            sent += 1
            time.sleep(0.5)
        connection.send(content[sent:])
        status = connection.response("PATCH").status
    if status == 204:
        upload.assert_content(content)
    else:
        assert status in {404, 410}
        upload.assert_gone()
