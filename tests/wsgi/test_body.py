"""A body ends, and never fails: over real connections, and over inputs that do odd things."""

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
from tus_wsgi.wsgi.body import DISCARD_BYTES, DISCARD_SECONDS, WsgiBody
from tus_wsgi.wsgi.draining import LiveBodies

SOON = 0.05
"""Seconds until something happens in another thread."""

LATE = 10.0
"""Seconds that nothing here may take."""

DATA = random.Random(5).randbytes(300 * KIB)


@pytest.fixture
def wire() -> Iterator[GunicornConnection]:
    with GunicornConnection() as wire:
        yield wire


def later(act: Callable[[], object]) -> threading.Timer:
    timer = threading.Timer(SOON, act)
    timer.start()
    return timer


# -- whole bodies ----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 5, 8192, len(DATA)])
@pytest.mark.parametrize("step", [7, 1000, MIB])
def test_a_body_with_a_length_is_read_to_its_end(
    wire: GunicornConnection, size: int, step: int
) -> None:
    step = max(step, size // 100)
    wire.begin(length=size, data=DATA[: size // 2])
    sender = later(lambda: wire.send(DATA[size // 2 : size]))
    body = wire.body()
    assert body.content_length == size
    assert read(body, step=step) == DATA[:size]
    assert body.end is BodyEnd.COMPLETE
    sender.join()


@pytest.mark.parametrize("sizes", [[], [1], [5, 6, 7], [100 * KIB, 1]], ids=str)
def test_a_chunked_body_is_read_to_its_end(wire: GunicornConnection, sizes: list[int]) -> None:
    wire.begin(length=None)
    expected = b""
    for size in sizes:
        wire.send(encode_chunk(DATA[:size]))
        expected += DATA[:size]
    wire.send(encode_chunk(b""))
    body = wire.body()
    assert body.content_length is None
    assert read(body, step=64 * KIB) == expected
    assert body.end is BodyEnd.COMPLETE


def test_the_next_request_on_the_connection_is_left_alone(wire: GunicornConnection) -> None:
    """Even where it was sent together with the body."""
    wire.begin(length=3, data=b"abc")
    wire.begin(length=None, data=encode_chunk(b"def") + encode_chunk(b""))
    wire.begin(length=2, data=b"gh")
    found = []
    for _ in range(3):
        body = wire.body()
        found.append(read(body))
        body.close()
    assert found == [b"abc", b"def", b"gh"]


def test_a_body_that_came_with_its_head_is_not_waited_for(wire: GunicornConnection) -> None:
    wire.begin(length=3, data=b"abc")
    body = wire.body()
    began = time.monotonic()
    assert read(body) == b"abc"
    assert time.monotonic() - began < 1


def test_an_empty_buffer_is_no_end(wire: GunicornConnection) -> None:
    wire.begin(length=3, data=b"abc")
    body = wire.body()
    assert body.readinto(memoryview(bytearray())) == 0
    assert read(body) == b"abc"


def test_nobody_asks_for_the_end_before_it_is_there(wire: GunicornConnection) -> None:
    wire.begin(length=3, data=b"abc")
    body = wire.body()
    with pytest.raises(AssertionError):
        _ = body.end
    body.readinto(memoryview(bytearray(1)))
    with pytest.raises(AssertionError):
        _ = body.end


def test_it_is_a_body() -> None:
    def use(body: Body) -> int | None:
        return body.content_length

    with GunicornConnection() as wire:
        wire.begin(length=7)
        assert use(wire.body()) == 7


# -- bodies that are cut short ---------------------------------------------------------------------

KINDS: dict[str, tuple[int | None, bytes]] = {
    "length": (10, b"abcde"),
    "chunked": (None, encode_chunk(b"abcde")),
    "inside a chunk": (None, b"a\r\nabcde"),
}


@pytest.fixture(params=KINDS)
def begun(request: pytest.FixtureRequest, wire: GunicornConnection) -> WsgiBody:
    """A body of which `abcde` has come."""
    length, data = KINDS[request.param]
    wire.begin(length=length, data=data)
    return wire.body(timeout=0.3)


def test_a_client_that_closed_is_gone_and_what_came_is_kept(
    wire: GunicornConnection, begun: WsgiBody
) -> None:
    """C-41."""
    later(wire.half_close)
    assert read(begun) == b"abcde"
    assert begun.end is BodyEnd.DISCONNECTED


def test_a_client_that_reset_is_gone_and_what_was_read_is_kept(
    wire: GunicornConnection, begun: WsgiBody
) -> None:
    timer = later(wire.reset)
    found = read(begun)
    timer.join()
    assert begun.end is BodyEnd.DISCONNECTED
    assert found == b"abcde"


def test_a_silent_client_is_given_up_and_what_came_is_kept(
    wire: GunicornConnection, begun: WsgiBody
) -> None:
    """C-42."""
    began = time.monotonic()
    assert read(begun) == b"abcde"
    assert begun.end is BodyEnd.STALLED
    assert 0.2 < time.monotonic() - began < LATE


def test_a_slow_client_is_not_given_up(wire: GunicornConnection) -> None:
    """The timeout is for silence, and not for the whole body."""
    wire.begin(length=8)

    def drip() -> None:
        for byte in b"abcdefgh":
            time.sleep(0.1)
            wire.send(bytes([byte]))

    sender = threading.Thread(target=drip)
    sender.start()
    body = wire.body(timeout=0.5)
    assert read(body) == b"abcdefgh"
    assert body.end is BodyEnd.COMPLETE
    sender.join()


@pytest.mark.parametrize("end", [BodyEnd.INTERRUPTED, BodyEnd.DRAINING])
def test_an_interruption_ends_a_read_that_is_waiting(
    wire: GunicornConnection, end: BodyEnd
) -> None:
    for length, data in KINDS.values():
        with GunicornConnection() as other:
            other.begin(length=length, data=data)
            body = other.body(timeout=LATE)
            began = time.monotonic()
            later(lambda body=body: body.interrupt(end))  # type: ignore[misc]
            assert read(body) == b"abcde"
            assert body.end is end
            assert time.monotonic() - began < LATE / 2


def test_an_interruption_before_the_first_read_counts(
    wire: GunicornConnection, begun: WsgiBody
) -> None:
    begun.interrupt(BodyEnd.INTERRUPTED)
    assert read(begun) == b"abcde"
    assert begun.end is BodyEnd.INTERRUPTED


def test_the_first_interruption_is_the_reason(wire: GunicornConnection, begun: WsgiBody) -> None:
    begun.interrupt(BodyEnd.DRAINING)
    begun.interrupt(BodyEnd.INTERRUPTED)
    read(begun)
    assert begun.end is BodyEnd.DRAINING


def test_an_interruption_of_a_body_that_is_whole_changes_nothing(wire: GunicornConnection) -> None:
    wire.begin(length=3, data=b"abc")
    body = wire.body()
    assert read(body) == b"abc"
    body.interrupt(BodyEnd.INTERRUPTED)
    assert body.end is BodyEnd.COMPLETE


def test_whoever_was_interrupted_does_not_keep_the_connection(wire: GunicornConnection) -> None:
    """Nothing more can be received over it, though the body is whole."""
    wire.begin(length=5, data=b"ab")
    body = wire.body()
    assert body.readinto(memoryview(bytearray(2))) == 2
    wire.send(b"cde")
    body.interrupt(BodyEnd.INTERRUPTED)
    assert read(body) == b"cde"
    assert body.end is BodyEnd.COMPLETE
    assert not body.is_complete


def test_an_interruption_that_comes_too_late_is_none(wire: GunicornConnection) -> None:
    """In threads the connection may have been closed a moment before."""
    wire.begin(length=5, data=b"ab")
    body = wire.body()
    body.readinto(memoryview(bytearray(2)))
    wire.server.close()
    wire.bodies.clear()
    body.interrupt(BodyEnd.DRAINING)


def test_all_that_had_arrived_is_read_after_an_interruption(wire: GunicornConnection) -> None:
    """Acknowledged by TCP, so the client will not send it again by itself."""
    wire.begin(length=MIB)
    wire.send(DATA[: 40 * KIB])
    body = wire.body()
    buffer = memoryview(bytearray(100))
    found = bytes(buffer[: body.readinto(buffer)])
    body.interrupt(BodyEnd.INTERRUPTED)
    found += read(body)
    assert found == DATA[: 40 * KIB]
    assert body.end is BodyEnd.INTERRUPTED


@pytest.mark.parametrize("length", [100 * MIB, None], ids=["length", "chunked"])
def test_a_client_that_goes_on_at_full_speed_is_interrupted_all_the_same(
    wire: GunicornConnection, length: int | None
) -> None:
    wire.begin(length=length)
    more = bytes(MIB) if length else encode_chunk(b"x") * 100_000

    def pour() -> None:
        with suppress(OSError):
            while True:
                wire.send(more)

    sender = threading.Thread(target=pour, daemon=True)
    sender.start()
    body = wire.body()
    buffer = memoryview(bytearray(64 * KIB))
    body.readinto(buffer)
    body.interrupt(BodyEnd.INTERRUPTED)
    read(body, step=64 * KIB)
    assert body.end is BodyEnd.INTERRUPTED
    assert body._received < 32 * MIB, "more than any kernel had at that moment"
    wire.server.shutdown(socket.SHUT_RDWR)
    sender.join(LATE)
    assert not sender.is_alive()


@pytest.mark.parametrize("rubbish", [b"xyz\r\n", b"-1\r\n", b"5\r\nabcdefgh\r\n"])
def test_broken_framing_is_told_apart_from_a_lost_client(
    wire: GunicornConnection, rubbish: bytes
) -> None:
    wire.begin(length=None, data=encode_chunk(b"abcde") + rubbish)
    wire.half_close()
    body = wire.body()
    found = read(body)
    assert found.startswith(b"abcde") or b"abcde".startswith(found)
    assert body.end is BodyEnd.MALFORMED


# -- limits ----------------------------------------------------------------------------------------

WHOLE: dict[str, tuple[int | None, bytes]] = {
    "length": (5, b"abcde"),
    "chunked": (None, encode_chunk(b"abc") + encode_chunk(b"de") + encode_chunk(b"")),
}


@pytest.mark.parametrize("kind", WHOLE)
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
def test_no_more_is_handed_out_than_is_allowed(
    wire: GunicornConnection, kind: str, limit: int, end: BodyEnd
) -> None:
    """C-38, C-39."""
    length, data = WHOLE[kind]
    wire.begin(length=length, data=data)
    body = wire.body()
    body.limit(limit)
    assert read(body) == b"abcde"[:limit]
    assert body.end is end


def test_a_body_that_ends_at_its_limit_may_still_be_cut_off(wire: GunicornConnection) -> None:
    """Whether a chunked body is whole is known only behind its last chunk."""
    wire.begin(length=None, data=encode_chunk(b"abcde"))
    wire.half_close()
    body = wire.body()
    body.limit(5)
    assert read(body) == b"abcde"
    assert body.end is BodyEnd.DISCONNECTED


def test_an_empty_body_may_have_the_limit_zero(wire: GunicornConnection) -> None:
    wire.begin(length=0)
    body = wire.body()
    body.limit(0)
    assert read(body) == b""
    assert body.end is BodyEnd.COMPLETE


# -- what nobody wants -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", WHOLE)
@pytest.mark.parametrize("limit", [None, 3])
def test_a_small_rest_is_read_so_that_the_connection_goes_on(
    wire: GunicornConnection, kind: str, limit: int | None
) -> None:
    length, data = WHOLE[kind]
    wire.begin(length=length, data=data)
    body = wire.body()
    if limit is not None:
        body.limit(limit)
        read(body)
    body.discard()
    body.close()
    wire.begin(length=2, data=b"ok")
    assert read(wire.body()) == b"ok"


def test_of_a_large_rest_nothing_is_read(wire: GunicornConnection) -> None:
    """The response does not wait for it."""
    wire.begin(length=100 * MIB, data=b"abc")
    body = wire.body()
    began = time.monotonic()
    body.discard()
    body.close()
    assert time.monotonic() - began < DISCARD_SECONDS
    assert not body.is_complete
    assert body._received == 0


def test_of_a_large_chunked_rest_the_first_is_read(wire: GunicornConnection) -> None:
    """It says nowhere how long it is."""
    wire.begin(length=None)

    def pour() -> None:
        with suppress(OSError):
            wire.send(encode_chunk(bytes(100 * MIB)))

    sender = threading.Thread(target=pour)
    sender.start()
    body = wire.body()
    body.discard()
    body.close()
    assert not body.is_complete
    assert DISCARD_BYTES <= body._received <= DISCARD_BYTES + 64 * KIB
    wire.server.close()
    sender.join(LATE)
    assert not sender.is_alive()


@pytest.mark.parametrize("is_open", [False, True])
def test_a_silent_client_s_rest_is_not_waited_for(
    wire: GunicornConnection, *, is_open: bool
) -> None:
    """Whoever waited with the network's timeout would hold a greenlet for a minute."""
    wire.begin(length=10, data=b"abc")
    body = wire.body(timeout=LATE)
    if is_open:
        body.limit(3)
        read(body)
    began = time.monotonic()
    body.discard()
    assert time.monotonic() - began < 3 * DISCARD_SECONDS


def test_a_trickle_is_not_waited_for(wire: GunicornConnection) -> None:
    """The server's reader waits for 64 KiB, and each byte would begin its patience anew."""
    wire.begin(length=None)
    stop = threading.Event()

    def trickle() -> None:
        while not stop.wait(0.05):
            wire.send(encode_chunk(b"x"))

    sender = threading.Thread(target=trickle)
    sender.start()
    body = wire.body()
    began = time.monotonic()
    body.discard()
    assert time.monotonic() - began < LATE
    assert not body.is_complete
    stop.set()
    sender.join()


def test_a_pause_in_what_nobody_wants_is_no_end_of_the_connection(wire: GunicornConnection) -> None:
    """It is closed in stages afterwards."""
    wire.begin(length=100, data=b"abc")
    body = wire.body()
    body.discard()
    body.close()
    assert not body.is_complete
    wire.server.settimeout(0.1)
    with pytest.raises(TimeoutError):
        wire.server.recv(1)


def test_a_body_that_was_read_has_no_rest(wire: GunicornConnection) -> None:
    wire.begin(length=3, data=b"abc")
    body = wire.body()
    read(body)
    began = time.monotonic()
    body.discard()
    assert time.monotonic() - began < DISCARD_SECONDS
    assert body.end is BodyEnd.COMPLETE


def test_the_connection_is_given_back_as_it_was(wire: GunicornConnection) -> None:
    wire.server.settimeout(77)
    wire.begin(length=3, data=b"abc")
    body = wire.body(timeout=5)
    body.readinto(memoryview(bytearray(1)))
    assert wire.server.gettimeout() == 5
    body.close()
    body.close()
    assert wire.server.gettimeout() == 77


def test_an_unread_body_leaves_the_connection_alone(wire: GunicornConnection) -> None:
    wire.server.settimeout(77)
    wire.begin(length=3, data=b"abc")
    body = wire.body(timeout=5)
    body.close()
    assert wire.server.gettimeout() == 77


# -- draining --------------------------------------------------------------------------------------


def test_draining_ends_all_bodies_and_those_to_come(wire: GunicornConnection) -> None:
    wire.begin(length=10, data=b"abc")
    body = wire.body(timeout=LATE)
    later(wire.live.drain)
    assert read(body) == b"abc"
    assert body.end is BodyEnd.DRAINING
    with GunicornConnection() as other:
        other.live = wire.live
        other.begin(length=10, data=b"de")
        late = other.body(timeout=LATE)
        assert read(late) == b"de"
        assert late.end is BodyEnd.DRAINING


def test_a_body_that_has_ended_is_not_drained(wire: GunicornConnection) -> None:
    wire.begin(length=3, data=b"abc")
    body = wire.body()
    read(body)
    body.close()
    wire.live.drain()
    wire.begin(length=2, data=b"ok")
    assert read(wire.body()) == b"ok"


def test_live_bodies_are_forgotten_with_their_requests() -> None:
    live = LiveBodies()
    body = scripted([b"abc"], length=9, live=live)
    body.readinto(memoryview(bytearray(1)))
    assert len(live._bodies) == 1
    del body
    assert len(live._bodies) == 0


# -- others ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize("step", [KIB, 64 * KIB, 8 * MIB])
def test_others_get_their_turn_after_each_mib_of_a_client_that_always_has_data(
    chunked: bool, step: int, wire: GunicornConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under gevent nobody else runs until somebody waits, and nobody waits for such a client."""
    size = 4 * MIB
    wire.begin(length=None if chunked else size)
    data = encode_chunk(bytes(size)) + encode_chunk(b"") if chunked else bytes(size)
    sender = later(lambda: wire.send(data))
    body, turns = wire.body(), list[float]()
    monkeypatch.setattr(time, "sleep", turns.append)
    received, largest = [0], 0
    buffer = memoryview(bytearray(step))
    while count := body.readinto(buffer):
        received[-1] += count
        if len(turns) >= len(received):
            largest = max(largest, received[-1])
            received.append(0)
    sender.join()
    assert sum(received) == size
    assert set(turns) <= {0}
    assert turns, "nobody got a turn"
    assert largest <= MIB + step


# -- other servers ---------------------------------------------------------------------------------


class Script:
    """A `wsgi.input` that gives or raises one thing after the other."""

    def __init__(self, steps: list[bytes | Exception]) -> None:
        self._steps = steps
        self.asked: list[int] = []

    def read(self, size: int) -> bytes:
        assert size > 0, "a server may take this for everything"
        self.asked.append(size)
        if not self._steps:
            return b""
        step = self._steps.pop(0)
        if isinstance(step, Exception):
            raise step
        if len(step) > size:
            self._steps.insert(0, step[size:])
        return step[:size]


class NoMoreData(OSError):
    """As gunicorn calls it."""


class ChunkMissingTerminator(OSError):
    """As gunicorn calls it; `term` is what came where a chunk has to end."""

    def __init__(self, term: bytes) -> None:
        super().__init__()
        self.term = term


def scripted(
    steps: list[bytes | Exception], *, length: int | None, live: LiveBodies | None = None
) -> WsgiBody:
    environ: dict[str, Any] = {"wsgi.input": Script(steps)}
    if length is None:
        environ["HTTP_TRANSFER_ENCODING"] = "chunked"
    else:
        environ["CONTENT_LENGTH"] = str(length)
    return WsgiBody(environ, timeout=1, live=live or LiveBodies())


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
        (OSError("odd"), BodyEnd.MALFORMED),
        (ValueError("no chunk size"), BodyEnd.MALFORMED),
    ],
)
@pytest.mark.parametrize("length", [10, None])
def test_what_a_server_raises_is_a_reason_and_what_it_still_has_is_kept(
    error: Exception, end: BodyEnd, length: int | None
) -> None:
    body = scripted([b"abc", error, b"de", ValueError("again"), b"never"], length=length)
    assert read(body) == b"abcde"
    assert body.end is end


def test_a_short_read_without_an_error_is_a_lost_client() -> None:
    body = scripted([b"abc"], length=10)
    assert read(body) == b"abc"
    assert body.end is BodyEnd.DISCONNECTED


def test_a_server_may_hand_out_less_than_it_was_asked_for() -> None:
    body = scripted([b"a", b"bc", b"d", b"e"], length=5)
    assert read(body) == b"abcde"
    assert body.end is BodyEnd.COMPLETE


def test_no_more_is_asked_for_than_was_announced() -> None:
    """PEP 3333: "A server should allow read() to be called without an argument", and may block."""
    body = scripted([b"abcde", b"the next request"], length=5)
    assert read(body) == b"abcde"
    script = body._environ["wsgi.input"]
    assert sum(script.asked) == 5


def test_elsewhere_an_interruption_counts_from_the_next_read_on() -> None:
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
def test_whatever_the_pieces_the_bytes_are_the_same(
    data: bytes, sizes: list[int], step: int, limit: int | None, knows: bool
) -> None:
    pieces: list[bytes | Exception] = []
    rest = data
    for size in sizes:
        pieces.append(rest[:size])
        rest = rest[size:]
    whole = [piece for piece in [*pieces, rest] if piece]
    body = scripted(whole, length=len(data) if knows else None)
    if limit is not None:
        body.limit(limit)
    assert read(body, step=step) == data[:limit]
    too_long = limit is not None and limit < len(data)
    assert body.end is (BodyEnd.TOO_LONG if too_long else BodyEnd.COMPLETE)
