"""Reading a body ends and never raises: over real connections, and over misbehaving inputs."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.harness.http_messages import encode_chunk
from tests.wsgi.gunicorn_connection import GunicornConnection, read
from tus_wsgi.domain.interfaces import Body, BodyEnd
from tus_wsgi.domain.model import KIB, MIB
from tus_wsgi.wsgi import body as body_module
from tus_wsgi.wsgi.body import DISCARD_BYTES, WsgiBody
from tus_wsgi.wsgi.draining import LiveBodies
from tus_wsgi.wsgi.observed_bodies import ObservedBodies

DELAY_SECONDS = 0.05
"""Delay of what happens in another thread."""

MAX_SECONDS = 10.0
"""Nothing here may take longer."""

DATA = random.Random(5).randbytes(300 * KIB)


@pytest.fixture
def connection() -> Iterator[GunicornConnection]:
    with GunicornConnection() as connection:
        yield connection


def run_later(action: Callable[[], object]) -> threading.Timer:
    timer = threading.Timer(DELAY_SECONDS, action)
    timer.start()
    return timer


# -- whole bodies ----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 5, 8192, len(DATA)])
@pytest.mark.parametrize("step", [7, 1000, MIB])
def test_a_body_with_a_length_is_read_to_its_end(
    connection: GunicornConnection, size: int, step: int
) -> None:
    step = max(step, size // 100)
    connection.begin(length=size, data=DATA[: size // 2])
    sender = run_later(lambda: connection.send(DATA[size // 2 : size]))
    body = connection.body()
    assert body.content_length == size
    assert read(body, step=step) == DATA[:size]
    assert body.end is BodyEnd.COMPLETE
    sender.join()


@pytest.mark.parametrize("sizes", [[], [1], [5, 6, 7], [100 * KIB, 1]], ids=str)
def test_a_chunked_body_is_read_to_its_end(
    connection: GunicornConnection, sizes: list[int]
) -> None:
    connection.begin(length=None)
    expected = b""
    for size in sizes:
        connection.send(encode_chunk(DATA[:size]))
        expected += DATA[:size]
    connection.send(encode_chunk(b""))
    body = connection.body()
    assert body.content_length is None
    assert read(body, step=64 * KIB) == expected
    assert body.end is BodyEnd.COMPLETE


def test_a_pipelined_request_is_not_read(connection: GunicornConnection) -> None:
    """Even if it was sent together with the body."""
    connection.begin(length=3, data=b"abc")
    connection.begin(length=None, data=encode_chunk(b"def") + encode_chunk(b""))
    connection.begin(length=2, data=b"gh")
    bodies = []
    for _ in range(3):
        body = connection.body()
        bodies.append(read(body))
        body.close()
    assert bodies == [b"abc", b"def", b"gh"]


def test_a_body_that_was_read_ahead_with_its_head_needs_no_wait(
    connection: GunicornConnection,
) -> None:
    connection.begin(length=3, data=b"abc")
    body = connection.body()
    began = time.monotonic()
    assert read(body) == b"abc"
    assert time.monotonic() - began < MAX_SECONDS


def test_an_empty_buffer_does_not_end_the_body(connection: GunicornConnection) -> None:
    connection.begin(length=3, data=b"abc")
    body = connection.body()
    assert body.readinto(memoryview(bytearray())) == 0
    assert read(body) == b"abc"


def test_end_raises_before_the_body_has_ended(connection: GunicornConnection) -> None:
    connection.begin(length=3, data=b"abc")
    body = connection.body()
    with pytest.raises(AssertionError):
        _ = body.end
    body.readinto(memoryview(bytearray(1)))
    with pytest.raises(AssertionError):
        _ = body.end


def test_wsgi_body_implements_body() -> None:
    def use(body: Body) -> int | None:
        return body.content_length

    with GunicornConnection() as connection:
        connection.begin(length=7)
        assert use(connection.body()) == 7


# -- incomplete bodies -----------------------------------------------------------------------------

KINDS: dict[str, tuple[int | None, bytes]] = {
    "length": (10, b"abcde"),
    "chunked": (None, encode_chunk(b"abcde")),
    "inside a chunk": (None, b"a\r\nabcde"),
}


@pytest.fixture(params=KINDS)
def partial(request: pytest.FixtureRequest, connection: GunicornConnection) -> WsgiBody:
    """A body of which `abcde` has arrived."""
    length, data = KINDS[request.param]
    connection.begin(length=length, data=data)
    return connection.body(timeout=0.3)


def test_a_closed_connection_ends_the_body_and_keeps_its_bytes(
    connection: GunicornConnection, partial: WsgiBody
) -> None:
    """C-41."""
    run_later(connection.half_close)
    assert read(partial) == b"abcde"
    assert partial.end is BodyEnd.DISCONNECTED


def test_a_reset_connection_ends_the_body_and_keeps_its_bytes(
    connection: GunicornConnection, partial: WsgiBody
) -> None:
    timer = run_later(connection.reset)
    found = read(partial)
    timer.join()
    assert partial.end is BodyEnd.DISCONNECTED
    assert found == b"abcde"


def test_an_idle_client_ends_the_body_and_its_bytes_are_kept(
    connection: GunicornConnection, partial: WsgiBody
) -> None:
    """C-42."""
    began = time.monotonic()
    assert read(partial) == b"abcde"
    assert partial.end is BodyEnd.STALLED
    assert 0.2 < time.monotonic() - began < MAX_SECONDS


def test_a_slow_client_does_not_time_out(connection: GunicornConnection) -> None:
    """The timeout is between two reads, not for the whole body."""
    connection.begin(length=8)

    def send_slowly() -> None:
        for byte in b"abcdefgh":
            time.sleep(0.1)
            connection.send(bytes([byte]))

    sender = threading.Thread(target=send_slowly)
    sender.start()
    body = connection.body(timeout=0.5)
    assert read(body) == b"abcdefgh"
    assert body.end is BodyEnd.COMPLETE
    sender.join()


@pytest.mark.parametrize("end", [BodyEnd.INTERRUPTED, BodyEnd.DRAINING])
def test_an_interruption_ends_a_blocked_read(connection: GunicornConnection, end: BodyEnd) -> None:
    for length, data in KINDS.values():
        with GunicornConnection() as other:
            other.begin(length=length, data=data)
            body = other.body(timeout=MAX_SECONDS)
            began = time.monotonic()
            run_later(lambda body=body: body.interrupt(end))  # type: ignore[misc]
            assert read(body) == b"abcde"
            assert body.end is end
            assert time.monotonic() - began < MAX_SECONDS / 2


def test_an_interruption_before_the_first_read_ends_the_body(
    connection: GunicornConnection, partial: WsgiBody
) -> None:
    partial.interrupt(BodyEnd.INTERRUPTED)
    assert read(partial) == b"abcde"
    assert partial.end is BodyEnd.INTERRUPTED


def test_the_first_of_two_interruptions_is_the_reason(
    connection: GunicornConnection, partial: WsgiBody
) -> None:
    partial.interrupt(BodyEnd.DRAINING)
    partial.interrupt(BodyEnd.INTERRUPTED)
    read(partial)
    assert partial.end is BodyEnd.DRAINING


def test_an_interruption_after_the_end_changes_nothing(connection: GunicornConnection) -> None:
    connection.begin(length=3, data=b"abc")
    body = connection.body()
    assert read(body) == b"abc"
    body.interrupt(BodyEnd.INTERRUPTED)
    assert body.end is BodyEnd.COMPLETE


def test_an_interrupted_body_does_not_keep_the_connection(connection: GunicornConnection) -> None:
    """Nothing more can be received over it, even if the body turns out complete."""
    connection.begin(length=5, data=b"ab")
    body = connection.body()
    assert body.readinto(memoryview(bytearray(2))) == 2
    connection.send(b"cde")
    body.interrupt(BodyEnd.INTERRUPTED)
    assert read(body) == b"cde"
    assert body.end is BodyEnd.COMPLETE
    assert not body.is_complete


def test_an_interruption_ignores_a_closed_connection(connection: GunicornConnection) -> None:
    """Another thread may have closed the connection just before."""
    connection.begin(length=5, data=b"ab")
    body = connection.body()
    body.readinto(memoryview(bytearray(2)))
    connection.server.close()
    connection.bodies.clear()
    body.interrupt(BodyEnd.DRAINING)


def test_bytes_that_have_arrived_are_read_after_an_interruption(
    connection: GunicornConnection,
) -> None:
    """TCP has acknowledged them, so the client does not send them again by itself."""
    connection.begin(length=MIB)
    connection.send(DATA[: 40 * KIB])
    body = connection.body()
    buffer = memoryview(bytearray(100))
    found = bytes(buffer[: body.readinto(buffer)])
    body.interrupt(BodyEnd.INTERRUPTED)
    found += read(body)
    assert found == DATA[: 40 * KIB]
    assert body.end is BodyEnd.INTERRUPTED


@pytest.mark.parametrize("length", [100 * MIB, None], ids=["length", "chunked"])
def test_an_interruption_ends_the_body_of_a_client_that_keeps_sending(
    connection: GunicornConnection, length: int | None
) -> None:
    connection.begin(length=length)
    data = bytes(MIB) if length else encode_chunk(b"x") * 100_000

    def send_all() -> None:
        with suppress(OSError):
            while True:
                connection.send(data)

    sender = threading.Thread(target=send_all, daemon=True)
    sender.start()
    body = connection.body()
    buffer = memoryview(bytearray(64 * KIB))
    body.readinto(buffer)
    body.interrupt(BodyEnd.INTERRUPTED)
    read(body, step=64 * KIB)
    assert body.end is BodyEnd.INTERRUPTED
    assert body._received < 32 * MIB, "more than any kernel holds for a socket"
    connection.server.shutdown(socket.SHUT_RDWR)
    sender.join(MAX_SECONDS)
    assert not sender.is_alive()


@pytest.mark.parametrize("invalid", [b"xyz\r\n", b"-1\r\n", b"5\r\nabcdefgh\r\n"])
def test_invalid_framing_is_not_a_disconnect(
    connection: GunicornConnection, invalid: bytes
) -> None:
    connection.begin(length=None, data=encode_chunk(b"abcde") + invalid)
    connection.half_close()
    body = connection.body()
    found = read(body)
    assert found.startswith(b"abcde") or b"abcde".startswith(found)
    assert body.end is BodyEnd.MALFORMED


# -- limits ----------------------------------------------------------------------------------------

COMPLETE: dict[str, tuple[int | None, bytes]] = {
    "length": (5, b"abcde"),
    "chunked": (None, encode_chunk(b"abc") + encode_chunk(b"de") + encode_chunk(b"")),
}


@pytest.mark.parametrize("kind", COMPLETE)
@pytest.mark.parametrize(
    ("limit", "end"),
    [
        (0, BodyEnd.TOO_LONG),
        (3, BodyEnd.TOO_LONG),
        (4, BodyEnd.TOO_LONG),
        (5, BodyEnd.COMPLETE),
        (6, BodyEnd.COMPLETE),
        (2**62, BodyEnd.COMPLETE),
    ],
)
def test_no_more_bytes_are_returned_than_the_limit(
    connection: GunicornConnection, kind: str, limit: int, end: BodyEnd
) -> None:
    """C-38, C-39."""
    length, data = COMPLETE[kind]
    connection.begin(length=length, data=data)
    body = connection.body()
    body.limit(limit)
    assert read(body) == b"abcde"[:limit]
    assert body.end is end


def test_a_chunked_body_at_its_limit_may_be_incomplete(connection: GunicornConnection) -> None:
    """Only the last chunk shows that a chunked body is complete."""
    connection.begin(length=None, data=encode_chunk(b"abcde"))
    connection.half_close()
    body = connection.body()
    body.limit(5)
    assert read(body) == b"abcde"
    assert body.end is BodyEnd.DISCONNECTED


def test_an_empty_body_with_limit_zero_is_complete(connection: GunicornConnection) -> None:
    connection.begin(length=0)
    body = connection.body()
    body.limit(0)
    assert read(body) == b""
    assert body.end is BodyEnd.COMPLETE


# -- discard ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", COMPLETE)
@pytest.mark.parametrize("limit", [None, 3])
def test_discard_reads_a_small_rest_and_keeps_the_connection(
    connection: GunicornConnection, kind: str, limit: int | None
) -> None:
    length, data = COMPLETE[kind]
    connection.begin(length=length, data=data)
    body = connection.body()
    if limit is not None:
        body.limit(limit)
        read(body)
    body.discard()
    body.close()
    connection.begin(length=2, data=b"ok")
    assert read(connection.body()) == b"ok"


def test_discard_reads_nothing_of_a_large_rest(
    connection: GunicornConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The response does not wait for the rest."""
    monkeypatch.setattr(body_module, "DISCARD_SECONDS", 2 * MAX_SECONDS)
    connection.begin(length=100 * MIB, data=b"abc")
    body = connection.body()
    began = time.monotonic()
    body.discard()
    body.close()
    assert time.monotonic() - began < MAX_SECONDS
    assert not body.is_complete
    assert body._received == 0


def test_discard_reads_the_start_of_a_large_chunked_rest(connection: GunicornConnection) -> None:
    """The length of the rest is unknown."""
    connection.begin(length=None)

    def send_all() -> None:
        with suppress(OSError):
            connection.send(encode_chunk(bytes(100 * MIB)))

    sender = threading.Thread(target=send_all)
    sender.start()
    body = connection.body()
    body.discard()
    body.close()
    assert not body.is_complete
    assert DISCARD_BYTES <= body._received <= DISCARD_BYTES + 64 * KIB
    connection.server.close()
    sender.join(MAX_SECONDS)
    assert not sender.is_alive()


@pytest.mark.parametrize("is_open", [False, True])
def test_discard_does_not_wait_for_an_idle_client(
    connection: GunicornConnection, *, is_open: bool
) -> None:
    """The network timeout would occupy a greenlet for a minute."""
    connection.begin(length=10, data=b"abc")
    body = connection.body(timeout=2 * MAX_SECONDS)
    if is_open:
        body.limit(3)
        read(body)
    began = time.monotonic()
    body.discard()
    assert time.monotonic() - began < MAX_SECONDS


def test_discard_does_not_wait_for_a_slow_client(connection: GunicornConnection) -> None:
    """The server's reader waits for 64 KiB, and each byte restarts the socket's timeout."""
    connection.begin(length=None)
    stop = threading.Event()

    def send_slowly() -> None:
        while not stop.wait(0.05):
            connection.send(encode_chunk(b"x"))

    sender = threading.Thread(target=send_slowly)
    sender.start()
    body = connection.body()
    began = time.monotonic()
    body.discard()
    assert time.monotonic() - began < MAX_SECONDS
    assert not body.is_complete
    stop.set()
    sender.join()


def test_discard_of_an_idle_client_does_not_shut_the_connection_down(
    connection: GunicornConnection,
) -> None:
    """The connection is closed in stages afterwards."""
    connection.begin(length=100, data=b"abc")
    body = connection.body()
    body.discard()
    body.close()
    assert not body.is_complete
    connection.server.settimeout(0.1)
    with pytest.raises(TimeoutError):
        connection.server.recv(1)


def test_discard_after_the_end_does_nothing(
    connection: GunicornConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(body_module, "DISCARD_SECONDS", 2 * MAX_SECONDS)
    connection.begin(length=3, data=b"abc")
    body = connection.body()
    read(body)
    began = time.monotonic()
    body.discard()
    assert time.monotonic() - began < MAX_SECONDS
    assert body.end is BodyEnd.COMPLETE


def test_close_restores_the_timeout_of_the_connection(connection: GunicornConnection) -> None:
    connection.server.settimeout(77)
    connection.begin(length=3, data=b"abc")
    body = connection.body(timeout=5)
    body.readinto(memoryview(bytearray(1)))
    assert connection.server.gettimeout() == 5
    body.close()
    body.close()
    assert connection.server.gettimeout() == 77


def test_an_unread_body_does_not_change_the_connection(connection: GunicornConnection) -> None:
    connection.server.settimeout(77)
    connection.begin(length=3, data=b"abc")
    body = connection.body(timeout=5)
    body.close()
    assert connection.server.gettimeout() == 77


# -- close and drain -------------------------------------------------------------------------------


def test_drain_ends_current_and_later_bodies(connection: GunicornConnection) -> None:
    connection.begin(length=10, data=b"abc")
    body = connection.body(timeout=MAX_SECONDS)
    run_later(connection.live.drain)
    assert read(body) == b"abc"
    assert body.end is BodyEnd.DRAINING
    with GunicornConnection() as other:
        other.live = connection.live
        other.begin(length=10, data=b"de")
        late = other.body(timeout=MAX_SECONDS)
        assert read(late) == b"de"
        assert late.end is BodyEnd.DRAINING


def test_drain_ignores_a_closed_body(connection: GunicornConnection) -> None:
    connection.begin(length=3, data=b"abc")
    body = connection.body()
    read(body)
    body.close()
    connection.live.drain()
    connection.begin(length=2, data=b"ok")
    assert read(connection.body()) == b"ok"


def test_live_bodies_do_not_keep_a_body_alive() -> None:
    live = LiveBodies()
    body = scripted([b"abc"], length=9, live=live)
    body.readinto(memoryview(bytearray(1)))
    assert len(live._bodies) == 1
    del body
    assert len(live._bodies) == 0


def test_a_worker_that_is_told_to_exit_stores_what_has_arrived() -> None:
    """gunicorn's handler of SIGABRT raises SystemExit in a read of a sync worker."""
    body = scripted([b"abc", SystemExit(1), b"de"], length=9)
    assert read(body) == b"abc"
    assert body.end is BodyEnd.DRAINING
    with pytest.raises(SystemExit):
        body.close()
    body.close()


# -- fairness --------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize("step", [KIB, 64 * KIB, 8 * MIB])
def test_a_client_that_always_has_data_yields_after_each_mib(
    chunked: bool, step: int, connection: GunicornConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """gevent switches only when a read blocks, and reads from such a client never block."""
    size = 4 * MIB
    connection.begin(length=None if chunked else size)
    data = encode_chunk(bytes(size)) + encode_chunk(b"") if chunked else bytes(size)
    sender = run_later(lambda: connection.send(data))
    body, yields = connection.body(), list[float]()
    monkeypatch.setattr(time, "sleep", yields.append)
    received, received_since_yield, largest = 0, 0, 0
    known_yields = 0
    buffer = memoryview(bytearray(step))
    while count := body.readinto(buffer):
        received += count
        received_since_yield += count
        if len(yields) > known_yields:
            known_yields = len(yields)
            largest = max(largest, received_since_yield)
            received_since_yield = 0
    sender.join()
    assert received == size
    assert set(yields) <= {0}
    assert yields, "no other request could run"
    assert largest <= MIB + step


# -- other servers ---------------------------------------------------------------------------------


class Script:
    """A `wsgi.input` that returns or raises one step after the other."""

    def __init__(self, steps: list[bytes | BaseException]) -> None:
        self._steps = steps
        self.sizes: list[int] = []

    def read(self, size: int) -> bytes:
        assert size > 0, "a server may read everything for a size of 0"
        self.sizes.append(size)
        if not self._steps:
            return b""
        step = self._steps.pop(0)
        if isinstance(step, BaseException):
            raise step
        if len(step) > size:
            self._steps.insert(0, step[size:])
        return step[:size]


class NoMoreData(OSError):
    """Has the name of gunicorn's error."""


class ChunkMissingTerminator(OSError):
    """Has the name of gunicorn's error. `term` is what arrived in place of a chunk's CRLF."""

    def __init__(self, term: bytes) -> None:
        super().__init__()
        self.term = term


def scripted(
    steps: list[bytes | BaseException], *, length: int | None, live: LiveBodies | None = None
) -> WsgiBody:
    environ: dict[str, Any] = {"wsgi.input": Script(steps)}
    if length is None:
        environ["HTTP_TRANSFER_ENCODING"] = "chunked"
    else:
        environ["CONTENT_LENGTH"] = str(length)
    return WsgiBody(environ, timeout=1, live=live or LiveBodies())


@pytest.mark.parametrize("is_observed", [False, True])
def test_a_body_that_is_not_read_yet_is_interrupted_if_the_process_drains(
    *, is_observed: bool
) -> None:
    """Its request may wait for memory, and must not delay the end of the process."""
    live = LiveBodies()
    registry = ObservedBodies(live, lambda _event: None) if is_observed else live
    body = WsgiBody({"CONTENT_LENGTH": "3"}, timeout=1, live=registry)
    assert not body.is_interrupted()
    live.drain()
    assert body.is_interrupted()


class HTTP2StreamError(Exception):
    """Has the name of gunicorn's error for a stream that the client has reset."""


def unsized(steps: list[bytes | BaseException]) -> WsgiBody:
    """Return a body of HTTP/2 without a Content-Length."""
    environ = {
        "REQUEST_METHOD": "PATCH",
        "SERVER_PROTOCOL": "HTTP/2",
        "wsgi.input_terminated": True,
        "wsgi.input": Script(steps),
    }
    return WsgiBody(environ, timeout=1, live=LiveBodies())


def test_an_empty_body_of_unknown_length_is_told_by_its_end() -> None:
    """D-14."""
    body = unsized([b""])
    assert body.content_length is None
    assert body.is_empty()
    assert body.content_length == 0
    assert read(body) == b""
    assert body.end is BodyEnd.COMPLETE
    assert body.is_complete


@pytest.mark.parametrize("limit", [None, 5, 0])
def test_a_look_at_a_body_of_unknown_length_loses_no_byte(limit: int | None) -> None:
    """D-14."""
    body = unsized([b"a", b"bcde", b""])
    assert not body.is_empty()
    if limit is not None:
        body.limit(limit)
    assert read(body) == b"abcde"[:limit]
    assert body.end is (BodyEnd.TOO_LONG if limit == 0 else BodyEnd.COMPLETE)


def test_a_body_of_unknown_length_that_ends_early_is_not_empty() -> None:
    """D-14: a reset stream is a disconnect."""
    body = unsized([HTTP2StreamError()])
    assert not body.is_empty()
    assert read(body) == b""
    assert body.end is BodyEnd.DISCONNECTED


def test_nothing_is_discarded_of_a_body_whose_end_is_unknown() -> None:
    """D-14: a read could wait for ever."""
    environ = {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input": Script([AssertionError()])}
    body = WsgiBody(environ, timeout=1, live=LiveBodies())
    body.discard()
    assert not body.is_complete


@pytest.mark.parametrize(
    ("error", "end"),
    [
        (TimeoutError(), BodyEnd.STALLED),
        (ConnectionResetError(104, "reset"), BodyEnd.DISCONNECTED),
        (BrokenPipeError(32, "pipe"), BodyEnd.DISCONNECTED),
        (NoMoreData(), BodyEnd.DISCONNECTED),
        (ChunkMissingTerminator(b""), BodyEnd.DISCONNECTED),
        (ChunkMissingTerminator(b"\r"), BodyEnd.DISCONNECTED),
        (ChunkMissingTerminator(b"xy"), BodyEnd.MALFORMED),
        (OSError("no errno"), BodyEnd.MALFORMED),
        (ValueError("no chunk size"), BodyEnd.MALFORMED),
    ],
)
@pytest.mark.parametrize("length", [10, None])
def test_an_exception_is_the_reason_and_the_remaining_bytes_are_read(
    error: Exception, end: BodyEnd, length: int | None
) -> None:
    body = scripted([b"abc", error, b"de", ValueError("again"), b"never"], length=length)
    assert read(body) == b"abcde"
    assert body.end is end


def test_a_short_body_without_an_error_is_a_disconnect() -> None:
    body = scripted([b"abc"], length=10)
    assert read(body) == b"abc"
    assert body.end is BodyEnd.DISCONNECTED


def test_short_reads_are_repeated() -> None:
    body = scripted([b"a", b"bc", b"d", b"e"], length=5)
    assert read(body) == b"abcde"
    assert body.end is BodyEnd.COMPLETE


def test_no_more_is_read_than_the_content_length() -> None:
    """PEP 3333: "A server should allow read() to be called without an argument", and may block."""
    body = scripted([b"abcde", b"the next request"], length=5)
    assert read(body) == b"abcde"
    script = body._environ["wsgi.input"]
    assert sum(script.sizes) == 5


def test_without_gunicorn_an_interruption_takes_effect_at_the_next_read() -> None:
    body = scripted([b"abc", b"def", b"ghi"], length=9)
    buffer = memoryview(bytearray(3))
    assert body.readinto(buffer) == 3
    body.interrupt(BodyEnd.INTERRUPTED)
    assert body.readinto(buffer) == 0
    assert body.end is BodyEnd.INTERRUPTED


@pytest.mark.property
@given(
    st.binary(max_size=60),
    st.lists(st.integers(1, 20), max_size=20),
    st.integers(1, 30),
    st.one_of(st.none(), st.integers(0, 70)),
    st.booleans(),
)
def test_the_bytes_do_not_depend_on_the_sizes_of_reads(
    data: bytes, sizes: list[int], step: int, limit: int | None, has_length: bool
) -> None:
    steps: list[bytes | BaseException] = []
    rest = data
    for size in sizes:
        steps.append(rest[:size])
        rest = rest[size:]
    steps = [part for part in [*steps, rest] if part]
    body = scripted(steps, length=len(data) if has_length else None)
    if limit is not None:
        body.limit(limit)
    assert read(body, step=step) == data[:limit]
    too_long = limit is not None and limit < len(data)
    assert body.end is (BodyEnd.TOO_LONG if too_long else BodyEnd.COMPLETE)
