"""Which source a body is read from, and that both give the same bytes and leave the same behind.

Under each supported gunicorn: `tests/live/test_gunicorn.py`.
"""

from __future__ import annotations

import io
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
def wire() -> Iterator[GunicornConnection]:
    with GunicornConnection() as wire:
        yield wire


def content_length(environ: Mapping[str, Any]) -> int | None:
    length = environ.get("CONTENT_LENGTH")
    return int(length) if length else None


def fastest(environ: Mapping[str, Any]) -> BodySource:
    return source_of(environ, content_length(environ))


def plain(environ: Mapping[str, Any]) -> BodySource:
    return InputSource(environ["wsgi.input"])


def read(source: BodySource, *, step: int = 8 * KIB, at_most: int | None = None) -> bytes:
    """Everything up to the body's end, or only its beginning."""
    found = bytearray()
    buffer = memoryview(bytearray(step))
    left = len(DATA) * 20 if at_most is None else at_most
    while left and (count := source.readinto(buffer[:left])):
        found += buffer[:count]
        left -= count
    return bytes(found)


# -- which one -------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, len(DATA)])
def test_a_body_with_a_length_comes_straight_from_the_socket(
    wire: GunicornConnection, size: int
) -> None:
    wire.begin(length=size, data=DATA[:1000][:size])
    source = fastest(wire.environ())
    assert isinstance(source, SocketSource)
    sender = threading.Thread(target=wire.send, args=(DATA[1000:size],))
    sender.start()
    assert read(source) == DATA[:size]
    sender.join()


def test_a_chunked_body_comes_from_the_server_s_reader(wire: GunicornConnection) -> None:
    wire.begin(length=None, data=encode_chunk(b"abc") + encode_chunk(b"de") + encode_chunk(b""))
    environ = wire.environ()
    source = fastest(environ)
    assert isinstance(source, InputSource)
    assert read(source) == b"abcde"
    unreader = environ["wsgi.input"].reader.req.unreader
    assert unreader.sock is not wire.server
    source.close()
    assert unreader.sock is wire.server, "the next request is gunicorn's again"


@pytest.fixture
def pending(monkeypatch: pytest.MonkeyPatch) -> int:
    """Let 1000 bytes have arrived when a source is interrupted."""
    monkeypatch.setattr("tus_wsgi.wsgi.connection._pending", lambda _: 1000)
    return 1000


def test_an_interruption_limits_what_is_read_from_the_socket(
    wire: GunicornConnection, pending: int
) -> None:
    wire.begin(length=10_000)
    source = fastest(wire.environ())
    wire.send(DATA[:5000])
    source.interrupt()
    assert read(source) == DATA[:pending]


def test_an_interruption_limits_what_the_server_reads(
    wire: GunicornConnection, pending: int
) -> None:
    """Its reader takes this for the end of the connection."""
    wire.begin(length=None)
    source = fastest(wire.environ())
    wire.send(b"2710\r\n" + DATA[:5000])
    source.interrupt()
    with pytest.raises(OSError, match="No more data"):
        read(source)
    source.close()
    assert wire.server.recv(10_000) == DATA[pending - 6 : 5000]


def test_under_tls_a_body_comes_from_the_server_s_reader(
    wire: GunicornConnection, tmp_path: Path
) -> None:
    """What the socket receives there is not what the client means."""
    certificate = write_certificate(tmp_path)
    ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ours.load_cert_chain(certificate)
    theirs = ssl.create_default_context(cafile=str(certificate))
    shaken = threading.Thread(target=lambda: secure(wire, theirs))
    shaken.start()
    tls_server = ours.wrap_socket(wire.server, server_side=True)
    shaken.join()
    wire.wrap_server(tls_server)
    wire.begin(length=5, data=b"ab")
    wire.send(b"cde")
    source = fastest(wire.environ())
    assert isinstance(source, InputSource)
    assert read(source) == b"abcde"


def secure(wire: GunicornConnection, context: ssl.SSLContext) -> None:
    wire.socket = context.wrap_socket(wire.socket, server_hostname="127.0.0.1")


class Quiet(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def test_under_another_server_a_body_comes_from_its_reader() -> None:
    kinds: list[type[BodySource]] = []

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        source = fastest(environ)
        kinds.append(type(source))
        start_response("200 OK", [])
        # It ends only with the connection: whoever reads counts, as `WsgiBody` does.
        return [read(source, at_most=content_length(environ))]

    with make_server("127.0.0.1", 0, app, handler_class=Quiet) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        with Connection(server.server_port) as connection:
            connection.request("POST", "/", body=DATA)
            assert connection.read_response().body == DATA
        thread.join()
    assert kinds == [InputSource]


class Passing:
    """A layer above a socket, which may change what comes through it."""

    def __init__(self, below: socket.socket) -> None:
        self.recv = below.recv


def other_class(environ: dict[str, Any]) -> None:
    class EOFReader:
        pass

    theirs = environ["wsgi.input"].reader
    ours: Any = EOFReader()
    ours.__dict__ = theirs.__dict__
    ours.read = theirs.read
    environ["wsgi.input"].reader = ours


def no_socket(environ: dict[str, Any]) -> None:
    del environ["gunicorn.socket"]


def a_layer_above_the_socket(environ: dict[str, Any]) -> None:
    reader = environ["wsgi.input"].reader
    reader.unreader.sock = Passing(reader.unreader.sock)


def wrapped_by_the_app(environ: dict[str, Any]) -> None:
    environ["wsgi.input"] = io.BufferedReader(io.BytesIO(environ["wsgi.input"].read(10)))


def no_way_to_give_back(environ: dict[str, Any]) -> None:
    environ["wsgi.input"].reader.unreader.unread = None


def nothing(_environ: dict[str, Any]) -> None:
    """As gunicorn made it."""


ODD = [other_class, no_socket, a_layer_above_the_socket, wrapped_by_the_app, no_way_to_give_back]


@pytest.mark.parametrize("change", [nothing, *ODD])
def test_what_is_not_as_in_the_known_gunicorns_is_left_alone(
    wire: GunicornConnection, change: Callable[[dict[str, Any]], None]
) -> None:
    wire.begin(length=10, data=b"abcdefghij")
    environ = wire.environ()
    change(environ)
    source = fastest(environ)
    assert isinstance(source, SocketSource if change is nothing else InputSource)
    if change is not no_way_to_give_back:  # gunicorn's own reader needs it too
        assert read(source, at_most=10) == b"abcdefghij"


def test_a_reader_that_the_app_has_read_from_is_left_alone(wire: GunicornConnection) -> None:
    """What `readline` read too far lies in a buffer of its own."""
    wire.begin(length=9, data=b"one\ntwo\n3")
    environ = wire.environ()
    assert environ["wsgi.input"].readline() == b"one\n"
    source = fastest(environ)
    assert isinstance(source, InputSource)
    assert read(source) == b"two\n3"


def test_a_length_that_is_not_the_server_s_is_left_alone(wire: GunicornConnection) -> None:
    wire.begin(length=5, data=b"abcde")
    assert isinstance(source_of(wire.environ(), 4), InputSource)


# -- the same bytes, and the same left behind ------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sent:
    """A request of several on one connection.

    Attributes:
        size: bytes of its body.
        chunked: whether it is chunked.
        taken: bytes that the application reads of it; the rest is the server's to skip.
    """

    size: int
    chunked: bool
    taken: int

    @property
    def bytes(self) -> bytes:
        body = DATA[: self.size]
        field = "Transfer-Encoding: chunked" if self.chunked else f"Content-Length: {self.size}"
        head = f"PATCH /files/a HTTP/1.1\r\nHost: example.com\r\n{field}\r\n\r\n".encode()
        if not self.chunked:
            return head + body
        return head + (encode_chunk(body) if body else b"") + encode_chunk(b"")


sizes = st.one_of(st.integers(0, 40), st.integers(0, 40 * KIB))
requests = st.builds(
    lambda size, chunked, share: Sent(size, chunked, int(size * share)),
    sizes,
    st.booleans(),
    st.one_of(st.just(1.0), st.floats(0, 1)),
)


@pytest.mark.property
@given(st.lists(requests, min_size=1, max_size=6), st.integers(1, 20 * KIB), st.randoms())
def test_both_sources_read_a_connection_in_the_same_way(
    sent: list[Sent], step: int, rng: random.Random
) -> None:
    """Whatever comes in one packet, and however much of a body is left unread."""
    wanted = [DATA[: one.taken] for one in sent]
    stream = b"".join(one.bytes for one in sent)
    cuts = sorted(rng.randrange(len(stream)) for _ in range(3))
    packets = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert connection(sent, packets, step, plain) == wanted
    assert connection(sent, packets, step, fastest) == wanted


def send_all(wire: GunicornConnection, packets: list[bytes]) -> None:
    for packet in packets:
        wire.send(packet)
    # Whoever asks for more than there is gets an error, and does not wait.
    wire.half_close()


def connection(
    sent: list[Sent],
    packets: list[bytes],
    step: int,
    make: Callable[[Mapping[str, Any]], BodySource],
) -> list[bytes]:
    """What the application reads of each request, from a connection that comes in packets."""
    found = []
    with GunicornConnection() as wire:
        sender = threading.Thread(target=send_all, args=(wire, packets))
        sender.start()
        for one in sent:
            environ = wire.environ()
            source = make(environ)
            if make is fastest:
                assert isinstance(source, InputSource if one.chunked else SocketSource)
            # An end is asked for only where the application reads to it.
            at_most = None if one.taken == one.size else one.taken
            found.append(read(source, step=step, at_most=at_most))
            source.close()
        sender.join()
    return found


def test_a_body_of_many_megabytes_takes_both_ways_to_the_same_end() -> None:
    """More than the kernel holds, so the reader waits for the sender and the sender for him."""
    sent = [Sent(len(DATA), chunked=False, taken=len(DATA))] * 8
    packets = [one.bytes for one in sent]
    for make in (plain, fastest):
        assert connection(sent, packets, MIB, make) == [DATA] * 8
