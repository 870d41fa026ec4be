"""A connection that is good for nothing else is closed in stages, and soon."""

from __future__ import annotations

import ast
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

import tus_wsgi
from tests.wsgi.gunicorn_connection import GunicornConnection
from tus_wsgi.domain.model import MIB
from tus_wsgi.wsgi import connection as lingering
from tus_wsgi.wsgi.connection import (
    LingeringConnection,
    TimeoutResponse,
    close_after_response,
    with_write_timeout,
)

SOON = 0.1
"""Seconds in which something is begun."""

LATE = 20.0
"""Seconds that nothing here may take."""

NEVER = 60.0


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What ends in time ends for another reason."""
    monkeypatch.setattr(lingering, "IDLE_SECONDS", NEVER)
    monkeypatch.setattr(lingering, "LINGER_SECONDS", NEVER)


@pytest.fixture
def wire() -> Iterator[GunicornConnection]:
    with GunicornConnection() as wire:
        yield wire


@pytest.fixture
def closing(wire: GunicornConnection) -> Iterator[threading.Thread]:
    """The server's end, which is being closed."""
    wire.server.sendall(b"why")
    thread = threading.Thread(target=LingeringConnection(wire.server, live=wire.live).close)
    thread.start()
    yield thread
    thread.join(LATE)
    assert not thread.is_alive()


def pour(wire: GunicornConnection) -> None:
    """Send as fast as it goes, until the server is gone."""
    with suppress(OSError):
        while True:
            wire.send(bytes(MIB))


def assert_nothing_is_left(wire: GunicornConnection) -> None:
    """A server that went on would find the end at once."""
    wire.server.settimeout(1)
    assert wire.server.recv(1) == b""


def test_what_is_sent_meanwhile_does_not_cost_the_response(
    wire: GunicornConnection, closing: threading.Thread
) -> None:
    wire.socket.settimeout(LATE)
    for _ in range(20):
        wire.send(bytes(MIB))
        time.sleep(0.01)
    assert wire.socket.recv(100) == b"why"
    assert wire.socket.recv(100) == b"", "it is told at once that there is nothing more"
    assert closing.is_alive()
    wire.half_close()
    closing.join(LATE)
    assert not closing.is_alive(), "both sides have closed it"
    assert_nothing_is_left(wire)


def test_a_silent_client_is_soon_left(
    wire: GunicornConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lingering, "IDLE_SECONDS", 0.2)
    wire.send(b"abc")
    began = time.monotonic()
    LingeringConnection(wire.server).close()
    assert time.monotonic() - began >= 0.2
    assert_nothing_is_left(wire)


@pytest.mark.parametrize("is_sending", [False, True])
def test_a_process_that_stops_waits_for_nobody(
    wire: GunicornConnection, closing: threading.Thread, *, is_sending: bool
) -> None:
    sender = threading.Thread(target=pour, args=[wire])
    if is_sending:
        sender.start()
    closing.join(SOON)
    assert closing.is_alive()
    wire.live.drain()
    closing.join(LATE)
    assert not closing.is_alive()
    assert_nothing_is_left(wire)
    late = threading.Thread(target=LingeringConnection(wire.server, live=wire.live).close)
    late.start()
    late.join(LATE)
    assert not late.is_alive()
    if is_sending:
        sender.join(LATE)


def test_a_client_that_never_stops_is_left_in_the_end(
    wire: GunicornConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lingering, "LINGER_SECONDS", 0.2)
    sender = threading.Thread(target=pour, args=[wire])
    sender.start()
    LingeringConnection(wire.server).close()
    assert_nothing_is_left(wire)
    sender.join(LATE)
    assert not sender.is_alive(), "it is not even reset"


@pytest.mark.parametrize("leave", [GunicornConnection.reset, lambda wire: wire.server.close()])
def test_a_connection_that_is_gone_is_no_trouble(
    wire: GunicornConnection, leave: Callable[[GunicornConnection], None]
) -> None:
    leave(wire)
    LingeringConnection(wire.server).close()


def test_a_connection_of_a_proxy_on_the_same_host_is_closed_too() -> None:
    """A Unix socket says nothing of the other side."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"abc")
        theirs.shutdown(socket.SHUT_WR)
        LingeringConnection(ours).close()
        assert (ours.recv(1), theirs.recv(1)) == (b"", b"")


def test_who_goes_on_all_the_time_learns_that_it_is_over(
    wire: GunicornConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A window that stays shut would keep it for a minute."""
    monkeypatch.setattr(lingering, "LINGER_SECONDS", 0.2)
    sender = threading.Thread(target=pour, args=[wire])
    sender.start()
    time.sleep(SOON)
    wire.server.shutdown(socket.SHUT_RD)  # as an interruption of the body does
    LingeringConnection(wire.server).close()
    wire.server.close()
    sender.join(LATE)
    assert not sender.is_alive()


def test_it_is_closed_after_the_response_and_gunicorn_knows_it_before(
    wire: GunicornConnection,
) -> None:
    wire.begin(length=100 * MIB)
    environ, response = wire.call()
    start_response = response.start_response
    pieces = close_after_response([b"why"], environ, start_response)
    start_response("404 NOT FOUND", [("Content-Length", "3")])
    for piece in pieces:
        response.write(piece)
    wire.socket.settimeout(LATE)
    text = b""
    while not text.endswith(b"why"):
        text += wire.socket.recv(1000)
    assert b"\r\nConnection: close\r\n" in text
    wire.send(b"still open")
    wire.half_close()
    pieces.close()  # type: ignore[attr-defined]
    assert wire.socket.recv(1) == b""
    assert_nothing_is_left(wire)


@pytest.mark.parametrize("length", ["", "0", None])
def test_a_connection_without_a_body_in_it_goes_on(
    wire: GunicornConnection, length: str | None
) -> None:
    wire.begin(length=0)
    environ, response = wire.call()
    environ["CONTENT_LENGTH"] = length
    pieces = [b"why"]
    assert close_after_response(pieces, environ, response.start_response) is pieces
    assert not response.must_close


def test_other_servers_close_as_they_like() -> None:
    pieces = [b"why"]
    for connection in ({}, {"gunicorn.socket": object()}):
        environ = {"CONTENT_LENGTH": "10", **connection}
        assert close_after_response(pieces, environ, lambda *_: print) is pieces


# -- writing ---------------------------------------------------------------------------------------


class Pieces:
    """Says whether it was closed."""

    def __init__(self) -> None:
        self.is_closed = False

    def __iter__(self) -> Iterator[bytes]:
        return iter([b"one", b"two"])

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture
def pieces() -> Pieces:
    return Pieces()


@pytest.fixture
def response(wire: GunicornConnection, pieces: Pieces) -> TimeoutResponse:
    found = with_write_timeout(3.0, pieces, {"gunicorn.socket": wire.server})
    assert isinstance(found, TimeoutResponse)
    return found


def assert_good(wire: GunicornConnection) -> None:
    """The next request can come, and be answered."""
    assert wire.server.gettimeout() is None
    wire.send(b"again")
    assert wire.server.recv(10) == b"again"
    wire.server.sendall(b"ok")
    assert wire.socket.recv(10) == b"ok"


def test_who_took_it_all_keeps_the_connection(
    wire: GunicornConnection, pieces: Pieces, response: TimeoutResponse
) -> None:
    assert wire.server.gettimeout() == 3.0
    assert list(response) == [b"one", b"two"]
    response.close()
    assert pieces.is_closed
    assert_good(wire)


def test_who_is_asked_for_nothing_keeps_it_too(
    wire: GunicornConnection, pieces: Pieces, response: TimeoutResponse
) -> None:
    """A middleware around this one may answer HEAD without the body."""
    response.close()
    assert pieces.is_closed
    assert_good(wire)


def test_who_took_only_some_of_it_does_not(
    wire: GunicornConnection, pieces: Pieces, response: TimeoutResponse
) -> None:
    assert next(iter(response)) == b"one"
    response.close()
    assert pieces.is_closed
    assert wire.server.recv(1) == b"", "the server need not wait for it"
    assert wire.socket.recv(1) == b""


def test_closing_a_response_ignores_a_closed_connection(
    wire: GunicornConnection, response: TimeoutResponse
) -> None:
    next(iter(response))
    wire.server.close()
    response.close()


def test_other_servers_wait_for_a_write_as_they_like() -> None:
    pieces = [b"one"]
    for environ in ({}, {"gunicorn.socket": object()}):
        assert with_write_timeout(3.0, pieces, environ) is pieces


# -- one module ------------------------------------------------------------------------------------

PACKAGE = Path(tus_wsgi.__file__).parent


def imported_modules(path: Path) -> set[str]:
    names = set[str]()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.add(str(node.module))
    return names


def test_only_one_module_touches_gunicorn_s_socket_and_its_readers() -> None:
    modules = {path: path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py")}
    only = [PACKAGE / "wsgi" / "connection.py"]
    assert [path for path in modules if "socket" in imported_modules(path)] == only
    for text in ("gunicorn.socket", "unreader", "ChunkedReader", "LengthReader"):
        assert [path for path in modules if text in modules[path]] == only, text
