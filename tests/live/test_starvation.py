"""Requests that make work out of proportion to their size leave the worker to others meanwhile.

Each was found by what it did: a gevent worker answered nobody for seconds, or until the end.
"""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest

from tests.harness.clients.http import Connection
from tests.harness.clients.tus import TusClient, patch_fields
from tests.harness.servers.deployment import Deployment
from tests.harness.servers.gunicorn import STOP_SECONDS, Gunicorn
from tests.harness.timing import MANY_TRIES, assert_takes_less
from tests.live.test_fairness import LATE
from tus_wsgi.domain.model import KIB, MIB

pytestmark = pytest.mark.live

UNKNOWN = "/files/aaaaaaaaaaaaaaaaaaaaaa"

CHUNKED = patch_fields(0, Transfer_Encoding="chunked")

TINY = b"1\r\nx\r\n" * (64 * KIB)
"""A client that sends each byte as a chunk of its own: 6 bytes and 5 µs of CPU for one."""

PADDED = (b"1" + b";a" * 4000 + b"\r\nx\r\n") * 40
"""8 KB and 2 ms for one."""

FILE = 64 * MIB
DOWNLOADS = 6

FLOOD_SECONDS = 3.0


@pytest.fixture(scope="module")
def server(deployment: Deployment) -> Gunicorn:
    return deployment.start(workers=1)


@contextmanager
def flood(server: Gunicorn, head: bytes, more: bytes) -> Iterator[None]:
    """Send `head`, and then `more` again and again, and read whatever comes back."""
    stop = threading.Event()
    with Connection(server.port) as connection:
        connection.send(head)

        def pour() -> None:
            with suppress(OSError):
                while not stop.is_set():
                    connection.send(more)

        def drain() -> None:
            with suppress(OSError):
                while connection.socket.recv(1 << 16):
                    pass

        threads = [threading.Thread(target=one, daemon=True) for one in (pour, drain)]
        for one in threads:
            one.start()
        time.sleep(0.3)
        yield
        stop.set()
        with suppress(OSError):
            connection.socket.shutdown(socket.SHUT_RDWR)
        for one in threads:
            one.join(5)


def slowest(tus: TusClient) -> float:
    """The longest that a small request took."""
    end, took = time.monotonic() + FLOOD_SECONDS, 0.0
    while time.monotonic() < end:
        began = time.monotonic()
        assert tus.request("OPTIONS", "/files").status == 204
        took = max(took, time.monotonic() - began)
        time.sleep(0.02)
    return took


def request(server: Gunicorn, method: str, path: str, fields: dict[str, str]) -> bytes:
    with Connection(server.port) as connection:
        return connection.encode_head(method, path, fields)


@pytest.mark.parametrize("path", ["/files", "/elsewhere"])
def test_requests_that_are_sent_ahead(path: str, server: Gunicorn) -> None:
    tus = TusClient(server.port)
    asked = request(server, "OPTIONS", path, {})

    def measure() -> float:
        with flood(server, asked, asked * 200):
            return slowest(tus)

    assert_takes_less(LATE, measure)


def test_downloads_of_quick_clients(server: Gunicorn) -> None:
    tus = TusClient(server.port)
    asked = request(server, "GET", tus.upload(bytes(FILE)), {})

    def measure() -> float:
        with ExitStack() as floods:
            for _ in range(DOWNLOADS):
                floods.enter_context(flood(server, asked, asked))
            return slowest(tus)

    # Without turns it took 0.35 to 0.5 s, and with them 0.04.
    assert_takes_less(0.2, measure, tries=MANY_TRIES)


@pytest.mark.parametrize("chunks", [TINY, PADDED], ids=["tiny", "padded"])
@pytest.mark.parametrize("is_wanted", [True, False], ids=["taken", "refused"])
def test_chunks_of_a_byte(chunks: bytes, server: Gunicorn, *, is_wanted: bool) -> None:
    tus = TusClient(server.port)

    def measure() -> float:
        path = tus.create(1 << 30) if is_wanted else UNKNOWN
        with flood(server, request(server, "PATCH", path, CHUNKED), chunks):
            return slowest(tus)

    assert_takes_less(LATE, measure)


@pytest.mark.parametrize("chunks", [TINY, PADDED], ids=["tiny", "padded"])
def test_who_sends_them_is_superseded(chunks: bytes, server: Gunicorn) -> None:
    tus = TusClient(server.port)

    def measure() -> float:
        path = tus.create(1 << 30)
        with flood(server, request(server, "PATCH", path, CHUNKED), chunks):
            began = time.monotonic()
            tus.offset(path)
            return time.monotonic() - began

    assert_takes_less(2 * LATE, measure)


@pytest.mark.parametrize("chunks", [TINY, PADDED], ids=["tiny", "padded"])
def test_a_server_stops_all_the_same(
    chunks: bytes, new_deployment: Callable[..., Deployment]
) -> None:
    server = new_deployment().start(workers=1)
    path = TusClient(server.port).create(1 << 30)
    with flood(server, request(server, "PATCH", path, CHUNKED), chunks):
        began = time.monotonic()
        server.signal(signal.SIGTERM)
        assert server.wait_for_exit(STOP_SECONDS) == 0
        assert time.monotonic() - began < STOP_SECONDS / 2
