"""Interim responses: which requests get them, how often, and what happens if sending fails."""

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
ROUTES = UploadRoutes("/files")


class Clock:
    """A clock that is advanced by hand."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


class SocketPair:
    """Both ends of a connection."""

    def __init__(self) -> None:
        self.server, self._client = socket.socketpair()
        self._client.setblocking(False)

    def received(self) -> str:
        """Return what has arrived since the last call."""
        try:
            return self._client.recv(65536).decode("ascii")
        except BlockingIOError:
            return ""

    def close_client(self) -> None:
        self._client.close()

    def close(self) -> None:
        self.server.close()
        self._client.close()


@pytest.fixture
def sockets() -> Iterator[SocketPair]:
    sockets = SocketPair()
    yield sockets
    sockets.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def render_offset(info: UploadInfo) -> Reply:
    return Reply(104, [("Upload-Offset", str(info.offset))])


def info_at(offset: int) -> UploadInfo:
    return UploadInfo(ID, None, offset)


def request(sockets: SocketPair, **more: object) -> WSGIEnvironment:
    """Return the environ of a creation whose body still arrives, as gunicorn makes it."""
    fields = {"Upload-Draft-Interop-Version": "9", "Upload-Complete": "?1"}
    environ = create_environ("/files", method="POST", headers=fields)
    environ |= {"gunicorn.socket": sockets.server, "SERVER_PROTOCOL": "HTTP/1.1", **more}
    return environ


def interim_of(environ: WSGIEnvironment) -> Interim | None:
    """Return how the dialect of a request renders interim responses."""
    newest = DRAFTS[0]
    dialects = [Rufh(draft, is_newest=draft is newest, max_size=9) for draft in DRAFTS]
    tus = Tus1(extensions=(), max_size=9, downloads=True)
    head = ROUTES.head(environ)
    dialect = next((rufh for rufh in dialects if rufh.speaks(head)), tus)
    return dialect.interim(head, head.url_of)


# -- which requests --------------------------------------------------------------------------------


def test_a_supported_version_over_http_1_1_gets_interim_responses(sockets: SocketPair) -> None:
    """R-10: compared byte by byte, as the final response follows on the same connection."""
    environ = request(sockets)
    sender = interim_sender(environ, interim_of(environ))
    assert sender is not None
    sender(info_at(0))
    assert sockets.received() == (
        "HTTP/1.1 104 Upload Resumption Supported\r\n"
        "Upload-Draft-Interop-Version: 9\r\n"
        f"Location: http://localhost/files/{ID}\r\n"
        "Upload-Limit: max-size=9, min-size=0\r\n"
        "\r\n"
    )


@pytest.mark.parametrize("protocol", ["HTTP/1.0", "HTTP/0.9", "HTTP/2", "HTTP/2.0", "HTTP/3", ""])
def test_other_http_versions_get_no_interim_responses(sockets: SocketPair, protocol: str) -> None:
    """R-11: HTTP/1.0 has no interim responses, and in HTTP/2 they are frames, not text."""
    environ = request(sockets, SERVER_PROTOCOL=protocol)
    assert interim_sender(environ, render_offset) is None


@pytest.mark.parametrize("connection", [None, object(), "a socket"])
def test_without_a_socket_there_are_no_interim_responses(
    sockets: SocketPair, connection: object
) -> None:
    environ = request(sockets, **{"gunicorn.socket": connection})
    assert interim_sender(environ, render_offset) is None


def test_another_server_sends_no_interim_responses(sockets: SocketPair) -> None:
    environ = request(sockets)
    del environ["gunicorn.socket"]
    assert interim_sender(environ, render_offset) is None


@pytest.mark.parametrize(
    "more",
    [
        {"HTTP_UPLOAD_DRAFT_INTEROP_VERSION": None},
        {"HTTP_UPLOAD_DRAFT_INTEROP_VERSION": "7"},
        {"HTTP_UPLOAD_DRAFT_INTEROP_VERSION": '"9"'},
        {"HTTP_UPLOAD_DRAFT_INTEROP_VERSION": ""},
        {"HTTP_TUS_RESUMABLE": "1.0.0"},
    ],
    ids=["none", "unknown", "not a number", "empty", "tus"],
)
def test_a_request_without_a_supported_version_gets_none(
    sockets: SocketPair, more: dict[str, str | None]
) -> None:
    """R-11: many clients treat a 104 as the final response."""
    environ = request(sockets)
    environ |= {name: value for name, value in more.items() if value is not None}
    for name in (name for name, value in more.items() if value is None):
        del environ[name]
    assert interim_of(environ) is None
    assert interim_sender(environ, interim_of(environ)) is None


# -- how often -------------------------------------------------------------------------------------


def test_the_first_report_is_sent_at_once(sockets: SocketPair, clock: Clock) -> None:
    InterimSender(Connection(sockets.server), render_offset, clock=clock)(info_at(7))
    assert "Upload-Offset: 7\r\n" in sockets.received()


@pytest.mark.parametrize(
    ("seconds", "size", "is_sent"),
    [
        (EVERY_SECONDS, EVERY_BYTES, True),
        (EVERY_SECONDS - 0.01, EVERY_BYTES, False),
        (EVERY_SECONDS, EVERY_BYTES - 1, False),
        (0.0, 1000 * EVERY_BYTES, False),
        (1000 * EVERY_SECONDS, 0, False),
    ],
)
def test_the_next_report_requires_the_time_and_the_bytes(
    sockets: SocketPair, clock: Clock, seconds: float, size: int, *, is_sent: bool
) -> None:
    """R-42: Go's client gave up after five interim responses."""
    sender = InterimSender(Connection(sockets.server), render_offset, clock=clock)
    sender(info_at(0))
    sockets.received()
    clock.now += seconds
    sender(info_at(size))
    assert (sockets.received() != "") is is_sent


@pytest.mark.parametrize(
    ("seconds", "size"),
    [(EVERY_SECONDS / 4, EVERY_BYTES), (EVERY_SECONDS, EVERY_BYTES // 4)],
    ids=["too little time", "too few bytes"],
)
def test_time_and_bytes_count_from_the_last_report_that_was_sent(
    sockets: SocketPair, clock: Clock, seconds: float, size: int
) -> None:
    sender = InterimSender(Connection(sockets.server), render_offset, clock=clock)
    for step in range(21):
        sender(info_at(step * size))
        clock.now += seconds
    sent = re.findall(r"Upload-Offset: (\d+)", sockets.received())
    assert sent == [str(step * size) for step in range(0, 21, 4)]


def test_a_report_that_the_dialect_omits_does_not_delay_the_next(
    sockets: SocketPair, clock: Clock
) -> None:
    """For example, version 3 reports no progress."""
    replies = iter([None, Reply(104, [("Upload-Offset", "5")])])
    sender = InterimSender(Connection(sockets.server), lambda _: next(replies), clock=clock)
    sender(info_at(4))
    assert sockets.received() == ""
    sender(info_at(5))
    assert "Upload-Offset: 5\r\n" in sockets.received()


# -- failures --------------------------------------------------------------------------------------


def test_a_closed_client_does_not_fail_the_request(sockets: SocketPair, clock: Clock) -> None:
    """What it sent is stored: only the reader of the body reports the disconnect."""
    sender = InterimSender(Connection(sockets.server), render_offset, clock=clock)
    sockets.close_client()
    for step in range(3):
        clock.now += EVERY_SECONDS
        sender(info_at(step * EVERY_BYTES))


def test_a_closed_socket_does_not_fail_the_request(sockets: SocketPair, clock: Clock) -> None:
    sockets.close()
    InterimSender(Connection(sockets.server), render_offset, clock=clock)(info_at(0))


@pytest.mark.parametrize("value", ["a\r\nSet-Cookie: x", "a\nb", "a\x00b", "ü"])
def test_a_field_value_with_unsafe_characters_is_refused(sockets: SocketPair, value: str) -> None:
    reply = Reply(104, [("Location", value)])
    sender = InterimSender(Connection(sockets.server), lambda _: reply)
    with pytest.raises(AssertionError, match="break out"):
        sender(info_at(0))
    assert sockets.received() == ""
