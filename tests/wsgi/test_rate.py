"""Clients that send too slowly."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.harness.http_messages import encode_chunk
from tests.wsgi.gunicorn_connection import GunicornConnection, read
from tus_wsgi.domain.interfaces import BodyEnd
from tus_wsgi.domain.model import KIB
from tus_wsgi.wsgi.body import WsgiBody
from tus_wsgi.wsgi.rate import MIN_WAIT, RateMeter

WINDOW = 60.0


class FakeTime:
    """The clock of a meter, and a client that sends."""

    def __init__(self) -> None:
        self.now = 1000.0

    def receive(self, meter: RateMeter, size: int, *, after: float) -> None:
        meter.begin()
        self.now += after
        meter.end(size)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeTime:
    clock = FakeTime()
    monkeypatch.setattr("tus_wsgi.wsgi.rate.time.monotonic", lambda: clock.now)
    return clock


def test_a_client_below_the_minimum_rate_times_out_after_the_window(clock: FakeTime) -> None:
    meter = RateMeter(500, WINDOW)
    for _ in range(2):
        clock.receive(meter, 1, after=40)
    with pytest.raises(TimeoutError):
        meter.begin()


def test_a_client_at_the_minimum_rate_never_times_out(clock: FakeTime) -> None:
    meter = RateMeter(500, WINDOW)
    for _ in range(100):
        clock.receive(meter, 5000, after=10)
    meter.begin()


def test_a_pause_is_made_up_for_by_the_bytes_after_it(clock: FakeTime) -> None:
    meter = RateMeter(500, WINDOW)
    clock.receive(meter, 64 * KIB, after=59)
    clock.receive(meter, 64 * KIB, after=59)
    meter.begin()


def test_a_fast_beginning_does_not_excuse_a_slow_end(clock: FakeTime) -> None:
    meter = RateMeter(500, WINDOW)
    clock.receive(meter, 10**9, after=WINDOW)
    for _ in range(6):
        clock.receive(meter, 1, after=10)
    with pytest.raises(TimeoutError):
        meter.begin()


def test_the_time_in_which_the_server_does_not_read_does_not_count(clock: FakeTime) -> None:
    """A slow S3 must not make clients slow."""
    meter = RateMeter(500, WINDOW)
    for _ in range(100):
        clock.receive(meter, 1, after=0)
        clock.now += 1000
    meter.begin()


def test_the_error_is_raised_once_so_that_arrived_bytes_can_be_read(clock: FakeTime) -> None:
    meter = RateMeter(500, WINDOW)
    clock.receive(meter, 1, after=WINDOW)
    with pytest.raises(TimeoutError):
        meter.begin()
    clock.receive(meter, 1, after=WINDOW)
    meter.begin()


def test_without_a_minimum_every_rate_is_accepted(clock: FakeTime) -> None:
    meter = RateMeter(0, WINDOW)
    for _ in range(10):
        clock.receive(meter, 0, after=WINDOW)
    meter.begin()


def test_the_rate_includes_the_present_wait(clock: FakeTime) -> None:
    meter = RateMeter()
    assert meter.rate() == float("inf")
    clock.receive(meter, 100, after=MIN_WAIT)
    assert meter.rate() == 100 / MIN_WAIT
    meter.begin()
    clock.now += 10 - MIN_WAIT
    assert meter.rate() == 10


# -- bodies over connections -----------------------------------------------------------------------


@pytest.fixture
def connection() -> Iterator[GunicornConnection]:
    with GunicornConnection() as connection:
        yield connection


def body_of(
    connection: GunicornConnection, *, min_rate: float = 0.0, timeout: float = 30.0
) -> WsgiBody:
    environ = connection.environ()
    body = WsgiBody(environ, timeout=timeout, min_rate=min_rate, live=connection.live)
    connection.bodies.append(body)
    return body


@contextmanager
def dribbling(
    connection: GunicornConnection, count: int, *, is_chunked: bool = False
) -> Iterator[bytearray]:
    """Send up to `count` bytes, one each 30 ms, until the block ends. Yield the sent bytes."""
    sent, has_ended = bytearray(), threading.Event()

    def send() -> None:
        while len(sent) < count and not has_ended.wait(0.03):
            byte = bytes([len(sent) % 256])
            sent.extend(byte)
            connection.send(encode_chunk(byte) if is_chunked else byte)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        yield sent
    finally:
        has_ended.set()
        sender.join()


@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_dribbling_body_ends_and_keeps_the_bytes_that_arrived(
    connection: GunicornConnection, monkeypatch: pytest.MonkeyPatch, *, is_chunked: bool
) -> None:
    monkeypatch.setattr("tus_wsgi.wsgi.connection.WINDOW", 0.3)
    connection.begin(length=None if is_chunked else 1000)
    body = body_of(connection, min_rate=500, timeout=0.3)
    with dribbling(connection, 1000, is_chunked=is_chunked) as sent:
        received = read(body, step=1)
    assert body.end is BodyEnd.STALLED
    assert body.cut_short is BodyEnd.STALLED
    assert 1 <= len(received) < 1000
    assert sent.startswith(received)


def test_a_dribbling_body_is_accepted_without_a_minimum(connection: GunicornConnection) -> None:
    connection.begin(length=15)
    body = body_of(connection)
    with dribbling(connection, 15) as sent:
        received = read(body, step=1)
    assert received == sent
    assert body.end is BodyEnd.COMPLETE


def test_a_body_knows_its_rate_while_it_is_received(connection: GunicornConnection) -> None:
    connection.begin(length=10)
    body = body_of(connection)
    assert body.rate() == float("inf")
    connection.send(b"x")
    assert body.readinto(memoryview(bytearray(1))) == 1
    assert body.rate() == float("inf"), "the server has hardly waited"
    body.interrupt(BodyEnd.STALLED)
    assert body.rate() is None
