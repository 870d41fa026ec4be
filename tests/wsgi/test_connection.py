"""gunicorn's connection: trailers, write timeouts, and the close in stages."""

from __future__ import annotations

import ast
import io
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import tus_wsgi
from tests.wsgi.gunicorn_connection import GunicornConnection
from tus_wsgi.domain.model import KIB, MIB
from tus_wsgi.wsgi.connection import (
    LastResponse,
    LingeringConnection,
    TimeoutResponse,
    close_after_response,
    supports_trailers,
    trailers_of,
    with_write_timeout,
)

STARTED_SECONDS = 0.1
"""Enough for a thread to start its work."""

MAX_SECONDS = 20.0
"""Nothing here may take longer."""

DISABLED_SECONDS = 60.0
"""A timeout that no test reaches."""


@pytest.fixture(autouse=True)
def no_timeouts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Disable the timeouts, so that a close that ends soon ends for another reason."""
    monkeypatch.setattr("tus_wsgi.wsgi.connection.IDLE_SECONDS", DISABLED_SECONDS)
    monkeypatch.setattr("tus_wsgi.wsgi.connection.LINGER_SECONDS", DISABLED_SECONDS)


@pytest.fixture
def connection() -> Iterator[GunicornConnection]:
    with GunicornConnection() as connection:
        yield connection


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
    to_s3 = PACKAGE / "stores" / "s3" / "direct"
    with_sockets = {path for path in modules if "socket" in imported_modules(path)}
    assert [path for path in with_sockets if to_s3 not in path.parents] == only
    for text in ("gunicorn.socket", "unreader", "ChunkedReader", "LengthReader"):
        assert [path for path in modules if text in modules[path]] == only, text


# -- trailers --------------------------------------------------------------------------------------


class ChunkedReader:
    """Has what the package uses of gunicorn's class of this name."""

    def __init__(self, trailers: object) -> None:
        self.req = SimpleNamespace(trailers=trailers)


def chunked_input(trailers: object) -> SimpleNamespace:
    return SimpleNamespace(reader=ChunkedReader(trailers))


def input_without_body(module: ModuleType | None) -> object:
    """Return the `wsgi.input` of a server whose body class is defined in `module`."""
    name = f"server_{id(module)}"
    body_class = type("Body", (), {"reader": object(), "__module__": name})
    if module is not None:
        sys.modules[name] = module
    return body_class()


def test_trailers_are_read_from_a_reader_like_gunicorn_s() -> None:
    assert supports_trailers({"wsgi.input": chunked_input([])})
    assert not supports_trailers({"wsgi.input": chunked_input(None)})


def test_without_a_body_the_server_s_module_shows_if_trailers_can_be_read() -> None:
    """OPTIONS has no body, and its response announces the extension."""
    known = ModuleType("known")
    known.ChunkedReader = type("ChunkedReader", (), {"parse_trailers": print})  # type: ignore[attr-defined]
    older = ModuleType("older")
    older.ChunkedReader = type("ChunkedReader", (), {})  # type: ignore[attr-defined]
    other = ModuleType("other")
    inputs = [input_without_body(module) for module in (known, older, other, None)]
    try:
        found = [supports_trailers({"wsgi.input": input}) for input in inputs]
        assert found == [True, False, False, False]
    finally:
        for input in inputs:
            sys.modules.pop(type(input).__module__, None)


@pytest.mark.parametrize("environ", [{}, {"wsgi.input": io.BytesIO()}, {"wsgi.input": None}])
def test_other_servers_have_no_trailers(environ: dict[str, Any]) -> None:
    assert not supports_trailers(environ)


def test_the_installed_gunicorn_has_the_known_readers() -> None:
    body = pytest.importorskip("gunicorn.http.body")
    assert supports_trailers({"wsgi.input": body.Body(body.LengthReader(None, 0))})


def test_trailers_have_lower_case_names_and_joined_values() -> None:
    received = [("UPLOAD-CHECKSUM", "sha1 A"), ("EXPIRES", "0"), ("UPLOAD-CHECKSUM", "sha1 B")]
    assert trailers_of(chunked_input(received)) == {
        "upload-checksum": "sha1 A,sha1 B",
        "expires": "0",
    }
    assert trailers_of(chunked_input([])) == {}
    assert trailers_of(chunked_input(None)) == {}
    assert trailers_of(io.BytesIO()) == {}


# -- close in stages -------------------------------------------------------------------------------


@pytest.fixture
def closing(connection: GunicornConnection) -> Iterator[threading.Thread]:
    """A thread that closes the server's end in stages."""
    connection.server.sendall(b"why")
    thread = threading.Thread(
        target=LingeringConnection(connection.server, live=connection.live).close
    )
    thread.start()
    yield thread
    thread.join(MAX_SECONDS)
    assert not thread.is_alive()


def send_until_closed(connection: GunicornConnection) -> None:
    """Send as fast as possible until the server closes the connection."""
    with suppress(OSError):
        while True:
            connection.send(bytes(MIB))


def assert_no_more_bytes(connection: GunicornConnection) -> None:
    """Assert that a server that continues to read finds the end at once."""
    connection.server.settimeout(1)
    assert connection.server.recv(1) == b""


def test_a_client_that_keeps_sending_receives_the_response(
    connection: GunicornConnection, closing: threading.Thread
) -> None:
    connection.socket.settimeout(MAX_SECONDS)
    for _ in range(20):
        connection.send(bytes(MIB))
        time.sleep(0.01)
    assert connection.socket.recv(100) == b"why"
    assert connection.socket.recv(100) == b"", (
        "the client learns at once that the response has ended"
    )
    assert closing.is_alive()
    connection.half_close()
    closing.join(MAX_SECONDS)
    assert not closing.is_alive(), "both sides have closed the connection"
    assert_no_more_bytes(connection)


def test_an_idle_client_is_closed_after_the_idle_timeout(
    connection: GunicornConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tus_wsgi.wsgi.connection.IDLE_SECONDS", 0.2)
    connection.send(b"abc")
    began = time.monotonic()
    LingeringConnection(connection.server).close()
    assert time.monotonic() - began >= 0.2
    assert_no_more_bytes(connection)


@pytest.mark.parametrize("is_sending", [False, True])
def test_draining_ends_the_wait_for_clients(
    connection: GunicornConnection, closing: threading.Thread, *, is_sending: bool
) -> None:
    sender = threading.Thread(target=send_until_closed, args=[connection])
    if is_sending:
        sender.start()
    closing.join(STARTED_SECONDS)
    assert closing.is_alive()
    connection.live.drain()
    closing.join(MAX_SECONDS)
    assert not closing.is_alive()
    assert_no_more_bytes(connection)
    late = threading.Thread(
        target=LingeringConnection(connection.server, live=connection.live).close
    )
    late.start()
    late.join(MAX_SECONDS)
    assert not late.is_alive()
    if is_sending:
        sender.join(MAX_SECONDS)


def test_a_client_that_never_stops_sending_is_closed_after_the_linger_time(
    connection: GunicornConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tus_wsgi.wsgi.connection.LINGER_SECONDS", 0.2)
    sender = threading.Thread(target=send_until_closed, args=[connection])
    sender.start()
    LingeringConnection(connection.server).close()
    assert_no_more_bytes(connection)
    sender.join(MAX_SECONDS)
    assert not sender.is_alive(), "the client was not even reset"


@pytest.mark.parametrize(
    "leave", [GunicornConnection.reset, lambda connection: connection.server.close()]
)
def test_closing_ignores_a_connection_that_is_gone(
    connection: GunicornConnection, leave: Callable[[GunicornConnection], None]
) -> None:
    leave(connection)
    LingeringConnection(connection.server).close()


def test_the_unix_socket_of_a_proxy_is_closed_too() -> None:
    """A Unix socket does not tell whether the other side has closed it."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"abc")
        theirs.shutdown(socket.SHUT_WR)
        LingeringConnection(ours).close()
        assert (ours.recv(1), theirs.recv(1)) == (b"", b"")


def test_an_interrupted_client_that_keeps_sending_is_reset(
    connection: GunicornConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the client would wait for a minute, because its TCP window stays closed."""
    monkeypatch.setattr("tus_wsgi.wsgi.connection.LINGER_SECONDS", 0.2)
    sender = threading.Thread(target=send_until_closed, args=[connection])
    sender.start()
    time.sleep(STARTED_SECONDS)
    connection.server.shutdown(socket.SHUT_RD)  # as an interruption of the body does
    LingeringConnection(connection.server).close()
    connection.server.close()
    sender.join(MAX_SECONDS)
    assert not sender.is_alive()


def test_close_after_response_announces_the_close_and_lingers(
    connection: GunicornConnection,
) -> None:
    connection.begin(length=100 * MIB)
    environ, response = connection.call()
    start_response = response.start_response
    response_body = close_after_response([b"why"], environ, start_response)
    start_response("404 NOT FOUND", [("Content-Length", "3")])
    for data in response_body:
        response.write(data)
    connection.socket.settimeout(MAX_SECONDS)
    text = b""
    while not text.endswith(b"why"):
        text += connection.socket.recv(1000)
    assert b"\r\nConnection: close\r\n" in text
    connection.send(b"still open")
    connection.half_close()
    response_body.close()  # type: ignore[attr-defined]
    assert connection.socket.recv(1) == b""
    assert_no_more_bytes(connection)


def collect_and_close(response_body: Iterable[bytes]) -> list[bytes]:
    """Do what werkzeug's ProfilerMiddleware does."""
    chunks = list(response_body)
    response_body.close()  # type: ignore[attr-defined]
    return chunks


Collect = Callable[[Iterable[bytes]], list[bytes]]


@pytest.mark.parametrize("is_wrapped", [False, True])
@pytest.mark.parametrize("collect", [collect_and_close, list])
def test_the_response_arrives_if_a_middleware_collects_it(
    connection: GunicornConnection, collect: Collect, *, is_wrapped: bool
) -> None:
    """The middleware closes the response before the server writes it, or never."""
    connection.begin(length=3 * MIB)
    environ, response = connection.call()
    start_response = response.start_response
    sender = threading.Thread(target=connection.send, args=[bytes(3 * MIB)])
    sender.start()
    wrapped = partial(start_response) if is_wrapped else start_response
    chunks = collect(close_after_response([b"why"], environ, wrapped))
    start_response("404 NOT FOUND", [("Content-Length", "3")])
    for data in chunks:
        response.write(data)
    response.close()
    connection.server.close()
    sender.join(MAX_SECONDS)
    connection.socket.settimeout(MAX_SECONDS)
    text = b""
    while more := connection.socket.recv(1000):
        text += more
    assert text.endswith(b"\r\n\r\nwhy")


@pytest.mark.parametrize("is_wrapped", [False, True])
def test_a_response_that_was_written_is_not_taken_for_a_collected_one(
    connection: GunicornConnection, *, is_wrapped: bool
) -> None:
    """The client learns at once that the response has ended."""
    connection.begin(length=100 * MIB)
    environ, response = connection.call()
    start_response = response.start_response
    wrapped = partial(start_response) if is_wrapped else start_response
    response_body = close_after_response([b"why"], environ, wrapped)
    assert isinstance(response_body, LastResponse)
    assert not response_body._is_written()
    start_response("404 NOT FOUND", [("Content-Length", "3")])
    for data in response_body:
        response.write(data)
    assert response_body._is_written()
    connection.half_close()
    response_body.close()


def test_discarding_ends_when_the_client_pauses_and_keeps_the_timeout(
    connection: GunicornConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tus_wsgi.wsgi.connection.INTERRUPTED_SECONDS", 0.1)
    connection.server.settimeout(77)
    connection.send(bytes(KIB))
    LingeringConnection(connection.server, live=connection.live).discard()
    assert connection.server.gettimeout() == 77
    assert_no_more_bytes(connection)
    connection.server.sendall(b"why")
    assert connection.socket.recv(100) == b"why"


def test_discarding_the_body_of_a_unix_socket_works_without_its_count_of_bytes() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        environ = {"CONTENT_LENGTH": "9", "gunicorn.socket": ours, "SERVER_PROTOCOL": "HTTP/1.1"}
        theirs.sendall(b"abc")
        theirs.shutdown(socket.SHUT_WR)
        response_body = close_after_response([b"why"], environ, lambda *_: print)
        collect_and_close(response_body)
        ours.sendall(b"why")
        assert theirs.recv(9) == b"why"


@pytest.mark.parametrize("length", ["", "0", None])
def test_close_after_response_keeps_a_connection_without_a_body(
    connection: GunicornConnection, length: str | None
) -> None:
    connection.begin(length=0)
    environ, response = connection.call()
    environ["CONTENT_LENGTH"] = length
    response_body = [b"why"]
    assert close_after_response(response_body, environ, response.start_response) is response_body
    assert not response.must_close


def test_close_after_response_does_nothing_under_other_servers() -> None:
    response_body = [b"why"]
    for more in ({}, {"gunicorn.socket": object()}):
        environ = {"CONTENT_LENGTH": "10", **more}
        assert close_after_response(response_body, environ, lambda *_: print) is response_body


# -- write timeout ---------------------------------------------------------------------------------


class ResponseBody:
    """Records whether it was closed."""

    def __init__(self) -> None:
        self.is_closed = False

    def __iter__(self) -> Iterator[bytes]:
        return iter([b"one", b"two"])

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture
def response_body() -> ResponseBody:
    return ResponseBody()


@pytest.fixture
def response(connection: GunicornConnection, response_body: ResponseBody) -> TimeoutResponse:
    timed = with_write_timeout(3.0, response_body, {"gunicorn.socket": connection.server})
    assert isinstance(timed, TimeoutResponse)
    return timed


def assert_reusable(connection: GunicornConnection) -> None:
    """Assert that the next request can arrive and be answered."""
    assert connection.server.gettimeout() is None
    connection.send(b"again")
    assert connection.server.recv(10) == b"again"
    connection.server.sendall(b"ok")
    assert connection.socket.recv(10) == b"ok"


def test_a_response_that_was_sent_keeps_the_connection(
    connection: GunicornConnection, response_body: ResponseBody, response: TimeoutResponse
) -> None:
    assert connection.server.gettimeout() == 3.0
    assert list(response) == [b"one", b"two"]
    response.close()
    assert response_body.is_closed
    assert_reusable(connection)


def test_a_response_that_was_not_begun_keeps_the_connection(
    connection: GunicornConnection, response_body: ResponseBody, response: TimeoutResponse
) -> None:
    """A middleware around this one may answer HEAD without the body."""
    response.close()
    assert response_body.is_closed
    assert_reusable(connection)


def test_a_response_that_was_partly_sent_shuts_the_connection_down(
    connection: GunicornConnection, response_body: ResponseBody, response: TimeoutResponse
) -> None:
    assert next(iter(response)) == b"one"
    response.close()
    assert response_body.is_closed
    assert connection.server.recv(1) == b"", "the server does not wait for the client"
    assert connection.socket.recv(1) == b""


def test_closing_a_response_ignores_a_closed_connection(
    connection: GunicornConnection, response: TimeoutResponse
) -> None:
    next(iter(response))
    connection.server.close()
    response.close()


def test_write_timeout_does_nothing_under_other_servers() -> None:
    response_body = [b"one"]
    for environ in ({}, {"gunicorn.socket": object()}):
        assert with_write_timeout(3.0, response_body, environ) is response_body
