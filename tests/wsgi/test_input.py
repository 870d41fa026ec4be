"""Which source a body is read from, and that both sources read a connection in the same way.

`tests/live/test_gunicorn.py` repeats this with each supported gunicorn.
"""

from __future__ import annotations

import io
import itertools
import random
import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server
from wsgiref.types import StartResponse, WSGIEnvironment

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.harness.clients.http import Connection
from tests.harness.http_messages import encode_chunk
from tests.harness.tls import write_certificate
from tests.wsgi.gunicorn_connection import GunicornConnection
from tus_wsgi.domain.model import KIB, MIB
from tus_wsgi.wsgi.connection import SocketSource
from tus_wsgi.wsgi.input import BodySource, InputSource, source_of

DATA = random.Random(6).randbytes(300 * KIB)


@pytest.fixture
def connection() -> Iterator[GunicornConnection]:
    with GunicornConnection() as connection:
        yield connection


def content_length(environ: Mapping[str, Any]) -> int | None:
    length = environ.get("CONTENT_LENGTH")
    return int(length) if length else None


def fastest(environ: Mapping[str, Any]) -> BodySource:
    return source_of(environ, content_length(environ))


def plain(environ: Mapping[str, Any]) -> BodySource:
    return InputSource(environ["wsgi.input"])


def read(source: BodySource, *, step: int = 8 * KIB, at_most: int | None = None) -> bytes:
    """Read the body to its end, or only its beginning."""
    found = bytearray()
    buffer = memoryview(bytearray(step))
    longer_than_any_body = len(DATA) * 20
    left = longer_than_any_body if at_most is None else at_most
    while left and (count := source.readinto(buffer[:left])):
        found += buffer[:count]
        left -= count
    return bytes(found)


# -- choice of the source --------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, len(DATA)])
def test_a_body_with_a_length_is_read_from_the_socket(
    connection: GunicornConnection, size: int
) -> None:
    connection.begin(length=size, data=DATA[:1000][:size])
    source = fastest(connection.environ())
    assert isinstance(source, SocketSource)
    sender = threading.Thread(target=connection.send, args=(DATA[1000:size],))
    sender.start()
    assert read(source) == DATA[:size]
    sender.join()


def test_a_chunked_body_is_read_through_the_server_s_reader(connection: GunicornConnection) -> None:
    connection.begin(
        length=None, data=encode_chunk(b"abc") + encode_chunk(b"de") + encode_chunk(b"")
    )
    environ = connection.environ()
    source = fastest(environ)
    assert isinstance(source, InputSource)
    assert read(source) == b"abcde"
    unreader = environ["wsgi.input"].reader.req.unreader
    assert unreader.sock is not connection.server
    source.close()
    assert unreader.sock is connection.server, "gunicorn reads the next request itself"


@pytest.fixture
def pending(monkeypatch: pytest.MonkeyPatch) -> int:
    """Let 1000 bytes have arrived when a source is interrupted."""
    monkeypatch.setattr("tus_wsgi.wsgi.connection._pending", lambda _: 1000)
    return 1000


def test_an_interruption_limits_what_is_read_from_the_socket(
    connection: GunicornConnection, pending: int
) -> None:
    connection.begin(length=10_000)
    source = fastest(connection.environ())
    connection.send(DATA[:5000])
    source.interrupt()
    assert read(source) == DATA[:pending]


def test_an_interruption_limits_what_the_server_reads(
    connection: GunicornConnection, pending: int
) -> None:
    """gunicorn's reader takes the interruption for the end of the connection."""
    connection.begin(length=None)
    source = fastest(connection.environ())
    chunk_head = b"%x\r\n" % 10_000
    connection.send(chunk_head + DATA[:5000])
    source.interrupt()
    with pytest.raises(OSError, match="No more data"):
        read(source)
    source.close()
    assert connection.server.recv(10_000) == DATA[pending - len(chunk_head) : 5000]


def test_under_tls_a_body_is_read_through_the_server_s_reader(
    connection: GunicornConnection, tmp_path: Path
) -> None:
    """The TCP socket receives encrypted bytes."""
    certificate = write_certificate(tmp_path)
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(certificate)
    client_context = ssl.create_default_context(cafile=str(certificate))
    handshake = threading.Thread(target=lambda: wrap_client(connection, client_context))
    handshake.start()
    tls_server = server_context.wrap_socket(connection.server, server_side=True)
    handshake.join()
    connection.wrap_server(tls_server)
    connection.begin(length=5, data=b"ab")
    connection.send(b"cde")
    source = fastest(connection.environ())
    assert isinstance(source, InputSource)
    assert read(source) == b"abcde"


def wrap_client(connection: GunicornConnection, context: ssl.SSLContext) -> None:
    connection.socket = context.wrap_socket(connection.socket, server_hostname="127.0.0.1")


class SilentHandler(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def test_under_another_server_a_body_is_read_from_wsgi_input() -> None:
    sources: list[type[BodySource]] = []

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        source = fastest(environ)
        sources.append(type(source))
        start_response("200 OK", [])
        # This input ends only with the connection, so its reader must count, as `WsgiBody` does.
        return [read(source, at_most=content_length(environ))]

    with make_server("127.0.0.1", 0, app, handler_class=SilentHandler) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        with Connection(server.server_port) as client:
            client.request("POST", "/", body=DATA)
            assert client.read_response().body == DATA
        thread.join()
    assert sources == [InputSource]


class SocketWrapper:
    """A layer above a socket, which may change the bytes."""

    def __init__(self, sock: socket.socket) -> None:
        self.recv = sock.recv


def unknown_reader(environ: dict[str, Any]) -> None:
    """Replace gunicorn's reader by a reader of an unknown class."""

    class EOFReader:
        pass

    known = environ["wsgi.input"].reader
    unknown: Any = EOFReader()
    unknown.__dict__ = known.__dict__
    unknown.read = known.read
    environ["wsgi.input"].reader = unknown


def no_socket(environ: dict[str, Any]) -> None:
    del environ["gunicorn.socket"]


def wrapped_socket(environ: dict[str, Any]) -> None:
    reader = environ["wsgi.input"].reader
    reader.unreader.sock = SocketWrapper(reader.unreader.sock)


def wrapped_input(environ: dict[str, Any]) -> None:
    environ["wsgi.input"] = io.BufferedReader(io.BytesIO(environ["wsgi.input"].read(10)))


def no_unread(environ: dict[str, Any]) -> None:
    environ["wsgi.input"].reader.unreader.unread = None


def unchanged(_environ: dict[str, Any]) -> None:
    """Leave the environ as gunicorn made it."""


UNKNOWN = [unknown_reader, no_socket, wrapped_socket, wrapped_input, no_unread]


@pytest.mark.parametrize("change", [unchanged, *UNKNOWN])
def test_unknown_internals_are_read_through_wsgi_input(
    connection: GunicornConnection, change: Callable[[dict[str, Any]], None]
) -> None:
    connection.begin(length=10, data=b"abcdefghij")
    environ = connection.environ()
    change(environ)
    source = fastest(environ)
    assert isinstance(source, SocketSource if change is unchanged else InputSource)
    if change is not no_unread:  # gunicorn's own reader needs it as well
        assert read(source, at_most=10) == b"abcdefghij"


def test_an_input_that_the_app_has_read_from_is_read_through_wsgi_input(
    connection: GunicornConnection,
) -> None:
    """`readline` keeps bytes that it has read beyond the line in a buffer of its own."""
    connection.begin(length=9, data=b"one\ntwo\n3")
    environ = connection.environ()
    assert environ["wsgi.input"].readline() == b"one\n"
    source = fastest(environ)
    assert isinstance(source, InputSource)
    assert read(source) == b"two\n3"


def test_a_length_that_differs_from_the_server_s_is_read_through_wsgi_input(
    connection: GunicornConnection,
) -> None:
    connection.begin(length=5, data=b"abcde")
    assert isinstance(source_of(connection.environ(), 4), InputSource)


# -- equivalence of the sources --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Request:
    """One of several requests on one connection.

    Attributes:
        size: bytes of its body.
        chunked: whether it is chunked.
        consumed: bytes that the application reads of it; the server skips the rest.
    """

    size: int
    chunked: bool
    consumed: int

    @property
    def bytes(self) -> bytes:
        body = DATA[: self.size]
        field = "Transfer-Encoding: chunked" if self.chunked else f"Content-Length: {self.size}"
        head = f"PATCH /files/a HTTP/1.1\r\nHost: example.com\r\n{field}\r\n\r\n".encode()
        if not self.chunked:
            return head + body
        return head + (encode_chunk(body) if body else b"") + encode_chunk(b"")


body_sizes = st.one_of(st.integers(0, 40), st.integers(0, 40 * KIB))
sent_requests = st.builds(
    lambda size, chunked, share: Request(size, chunked, int(size * share)),
    body_sizes,
    st.booleans(),
    st.one_of(st.just(1.0), st.floats(0, 1)),
)


@pytest.mark.property
@given(st.lists(sent_requests, min_size=1, max_size=6), st.integers(1, 20 * KIB), st.randoms())
def test_both_sources_read_a_connection_in_the_same_way(
    requests: list[Request], step: int, rng: random.Random
) -> None:
    """However the bytes are split into packets, and however much of a body is left unread."""
    expected = [DATA[: request.consumed] for request in requests]
    stream = b"".join(request.bytes for request in requests)
    cuts = sorted(rng.randrange(len(stream)) for _ in range(3))
    packets = [stream[start:stop] for start, stop in itertools.pairwise([0, *cuts, len(stream)])]
    assert read_connection(requests, packets, step, plain) == expected
    assert read_connection(requests, packets, step, fastest) == expected


def send_all(connection: GunicornConnection, packets: list[bytes]) -> None:
    for packet in packets:
        connection.send(packet)
    # A read beyond the last request fails instead of blocking.
    connection.half_close()


def read_connection(
    requests: list[Request],
    packets: list[bytes],
    step: int,
    make: Callable[[Mapping[str, Any]], BodySource],
) -> list[bytes]:
    """Return what the application reads of each request of a connection."""
    found = []
    with GunicornConnection() as connection:
        sender = threading.Thread(target=send_all, args=(connection, packets))
        sender.start()
        for request in requests:
            environ = connection.environ()
            source = make(environ)
            if make is fastest:
                assert isinstance(source, InputSource if request.chunked else SocketSource)
            # The source has to report the end only if the application reads to it.
            at_most = None if request.consumed == request.size else request.consumed
            found.append(read(source, step=step, at_most=at_most))
            source.close()
        sender.join()
    return found


def test_both_sources_read_bodies_of_many_megabytes() -> None:
    """Such bodies exceed the kernel's buffers, so the reader and the sender wait for each other."""
    requests = [Request(len(DATA), chunked=False, consumed=len(DATA))] * 8
    packets = [request.bytes for request in requests]
    for make in (plain, fastest):
        assert read_connection(requests, packets, MIB, make) == [DATA] * 8
