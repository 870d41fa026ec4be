"""Interim responses: to whom, how often, and what becomes of those that nobody gets."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from werkzeug.test import create_environ

from tus_wsgi.domain.model import UploadId, UploadInfo
from tus_wsgi.protocol.http import Interim, Reply
from tus_wsgi.protocol.rufh.dialect import Rufh
from tus_wsgi.protocol.rufh.drafts import DRAFTS
from tus_wsgi.protocol.tus1.dialect import Tus1
from tus_wsgi.wsgi.connection import Connection
from tus_wsgi.wsgi.environ import UploadRoutes
from tus_wsgi.wsgi.interim import EVERY_BYTES, EVERY_SECONDS, InterimSender, interim_sender

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment

ID = UploadId("Q1Hf2sVtT0m3bYwXyZ_-09")
MOUNT = UploadRoutes("/files")


class Clock:
    """A clock that stands still until it is set forward."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Line:
    """A connection, from both sides."""

    def __init__(self) -> None:
        self.server, self._client = socket.socketpair()
        self._client.setblocking(False)

    def received(self) -> str:
        """What has come since the last look."""
        try:
            return self._client.recv(65536).decode("ascii")
        except BlockingIOError:
            return ""

    def hang_up(self) -> None:
        self._client.close()

    def close(self) -> None:
        self.server.close()
        self._client.close()


@pytest.fixture
def line() -> Iterator[Line]:
    line = Line()
    yield line
    line.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def said(info: UploadInfo) -> Reply:
    return Reply(104, [("Upload-Offset", str(info.offset))])


def at(offset: int) -> UploadInfo:
    return UploadInfo(ID, None, offset)


def request(line: Line, **more: object) -> WSGIEnvironment:
    """A creation whose body is coming, as gunicorn hands it over."""
    fields = {"Upload-Draft-Interop-Version": "9", "Upload-Complete": "?1"}
    environ = create_environ("/files", method="POST", headers=fields)
    environ |= {"gunicorn.socket": line.server, "SERVER_PROTOCOL": "HTTP/1.1", **more}
    return environ


def interim_of(environ: WSGIEnvironment) -> Interim | None:
    """How its dialect would report progress, among all that are spoken."""
    newest = DRAFTS[0]
    dialects = [Rufh(draft, is_newest=draft is newest, max_size=9) for draft in DRAFTS]
    tus = Tus1(extensions=(), max_size=9, downloads=True)
    head = MOUNT.head(environ)
    dialect = next((one for one in dialects if one.speaks(head)), tus)
    return dialect.interim(head, head.url_of)


# -- to whom ---------------------------------------------------------------------------------------


def test_a_named_version_over_http_1_1_to_gunicorn_s_socket_gets_them(line: Line) -> None:
    """R-10: byte for byte, as the final response follows on the same connection."""
    environ = request(line)
    sender = interim_sender(environ, interim_of(environ))
    assert sender is not None
    sender(at(0))
    assert line.received() == (
        "HTTP/1.1 104 Upload Resumption Supported\r\n"
        "Upload-Draft-Interop-Version: 9\r\n"
        f"Location: http://localhost/files/{ID}\r\n"
        "Upload-Limit: max-size=9, min-size=0\r\n"
        "\r\n"
    )


@pytest.mark.parametrize("protocol", ["HTTP/1.0", "HTTP/0.9", "HTTP/2", "HTTP/2.0", "HTTP/3", ""])
def test_no_other_version_of_http_gets_any(line: Line, protocol: str) -> None:
    """R-11: HTTP/1.0 has no interim responses, and in HTTP/2 they are frames and no text."""
    environ = request(line, SERVER_PROTOCOL=protocol)
    assert interim_sender(environ, said) is None


@pytest.mark.parametrize("connection", [None, object(), "a socket"])
def test_without_gunicorn_s_socket_there_is_none(line: Line, connection: object) -> None:
    environ = request(line, **{"gunicorn.socket": connection})
    assert interim_sender(environ, said) is None


def test_another_server_has_no_such_socket(line: Line) -> None:
    environ = request(line)
    del environ["gunicorn.socket"]
    assert interim_sender(environ, said) is None


@pytest.mark.parametrize(
    "more",
    [
        {"HTTP_UPLOAD_DRAFT_INTEROP_VERSION": None},
        {"HTTP_UPLOAD_DRAFT_INTEROP_VERSION": "7"},
        {"HTTP_UPLOAD_DRAFT_INTEROP_VERSION": '"9"'},
        {"HTTP_UPLOAD_DRAFT_INTEROP_VERSION": ""},
        {"HTTP_TUS_RESUMABLE": "1.0.0"},
    ],
    ids=["none", "unknown", "no number", "empty", "tus"],
)
def test_who_names_no_version_that_is_spoken_gets_none(
    line: Line, more: dict[str, str | None]
) -> None:
    """R-11: many clients take a 104 for the final response."""
    environ = request(line)
    environ |= {name: value for name, value in more.items() if value is not None}
    for name in (name for name, value in more.items() if value is None):
        del environ[name]
    assert interim_of(environ) is None
    assert interim_sender(environ, interim_of(environ)) is None


# -- how often -------------------------------------------------------------------------------------


def test_the_first_is_sent_at_once(line: Line, clock: Clock) -> None:
    InterimSender(Connection(line.server), said, clock=clock)(at(7))
    assert "Upload-Offset: 7\r\n" in line.received()


@pytest.mark.parametrize(
    ("seconds", "count", "is_sent"),
    [
        (EVERY_SECONDS, EVERY_BYTES, True),
        (EVERY_SECONDS - 0.01, EVERY_BYTES, False),
        (EVERY_SECONDS, EVERY_BYTES - 1, False),
        (0.0, 1000 * EVERY_BYTES, False),
        (1000 * EVERY_SECONDS, 0, False),
    ],
)
def test_the_next_waits_for_the_time_and_for_the_bytes(
    line: Line, clock: Clock, seconds: float, count: int, *, is_sent: bool
) -> None:
    """R-42: Go's client gave up after five interim responses."""
    sender = InterimSender(Connection(line.server), said, clock=clock)
    sender(at(0))
    line.received()
    clock.now += seconds
    sender(at(count))
    assert (line.received() != "") is is_sent


@pytest.mark.parametrize(
    ("seconds", "count"),
    [(EVERY_SECONDS / 4, EVERY_BYTES), (EVERY_SECONDS, EVERY_BYTES // 4)],
    ids=["the time is short", "the bytes are few"],
)
def test_both_are_counted_from_the_last_one_that_was_sent(
    line: Line, clock: Clock, seconds: float, count: int
) -> None:
    sender = InterimSender(Connection(line.server), said, clock=clock)
    for step in range(21):
        sender(at(step * count))
        clock.now += seconds
    sent = re.findall(r"Upload-Offset: (\d+)", line.received())
    assert sent == [str(step * count) for step in range(0, 21, 4)]


def test_what_the_dialect_does_not_say_starts_no_waiting(line: Line, clock: Clock) -> None:
    """Version 3 has no progress, and what it does not say must not hold the next one up."""
    answers = iter([None, Reply(104, [("Upload-Offset", "5")])])
    sender = InterimSender(Connection(line.server), lambda _: next(answers), clock=clock)
    sender(at(4))
    assert line.received() == ""
    sender(at(5))
    assert "Upload-Offset: 5\r\n" in line.received()


# -- what can go wrong -----------------------------------------------------------------------------


def test_a_client_that_has_gone_does_no_harm(line: Line, clock: Clock) -> None:
    """What it sent is stored all the same: the body's reader finds out, and not the teller."""
    sender = InterimSender(Connection(line.server), said, clock=clock)
    line.hang_up()
    for step in range(3):
        clock.now += EVERY_SECONDS
        sender(at(step * EVERY_BYTES))


def test_a_socket_that_is_closed_does_no_harm(line: Line, clock: Clock) -> None:
    line.close()
    InterimSender(Connection(line.server), said, clock=clock)(at(0))


@pytest.mark.parametrize("value", ["a\r\nSet-Cookie: x", "a\nb", "a\x00b", "ü"])
def test_no_field_can_break_out_of_its_line(line: Line, value: str) -> None:
    with pytest.raises(AssertionError, match="break out"):
        InterimSender(Connection(line.server), lambda _: Reply(104, [("Location", value)]))(at(0))
    assert line.received() == ""
