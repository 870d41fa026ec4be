"""The scenario `silent`: requests of others while clients occupy connections and send nothing."""

from __future__ import annotations

import contextlib
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial

from benchmarks.client import Client, UnexpectedResponse
from benchmarks.crowd import open_clients, raise_file_limit, wait_until_idle
from benchmarks.results import Measure, Result, alternate
from benchmarks.testbed import Target, Testbed
from benchmarks.usage import Meter
from tus_wsgi.domain.model import KIB, MIB

HEAD_BYTES = 200
"""Bytes that each client sends of its body before it falls silent."""

DRIBBLE_SECONDS = 60.0
"""Half of the clients send one byte in this time, the others nothing."""

SETTLE_SECONDS = 3.0
"""The time that the silent clients have before others send requests."""

PAUSE = 0.01
"""Seconds between two requests."""


def silent(testbed: Testbed) -> Result:
    """Measure how long others wait for their responses."""
    count, requests = testbed.options.silent
    raise_file_limit(2 * count + 500)

    def measures() -> Mapping[str, Measure]:
        testbed.begin_round(count * KIB)
        return {target.name: partial(_silent, testbed, target) for target in testbed.targets()}

    description = (
        f"{count} clients that send {HEAD_BYTES} bytes of a PATCH; then one half sends one byte a "
        f"minute, the other half nothing. Meanwhile another client sends {requests} OPTIONS and "
        f"{requests} uploads of 1KiB, each over a new connection; {testbed.options.workers} "
        "worker(s)."
    )
    return Result("silent clients", description, list(alternate(testbed.options.rounds, measures)))


def _silent(testbed: Testbed, target: Target) -> dict[str, float]:
    count, requests = testbed.options.silent
    meter = Meter(target.pid)
    with _silent_clients(target, count) as clients:
        time.sleep(SETTLE_SECONDS)
        options = _measure(target, requests, _ask)
        uploads = _measure(target, requests, lambda client: client.upload(KIB, with_data=True))
        disconnected = sum(map(_is_closed, clients))
    wait_until_idle(target)
    return {
        **{f"OPTIONS: {name}": value for name, value in options.items()},
        **{f"upload: {name}": value for name, value in uploads.items()},
        "silent clients disconnected": float(disconnected),
        "peak RSS MiB": meter.read().peak_rss / MIB,
    }


def _ask(client: Client) -> None:
    client.send_head("OPTIONS", "/files", {}, 0)
    client.read_response(204)


def _measure(target: Target, count: int, request: Callable[[Client], object]) -> dict[str, float]:
    """Send `count` requests, each over a new connection."""
    seconds: list[float] = []
    failures = 0
    for _ in range(count):
        began = time.perf_counter()
        try:
            with Client(target.url) as client:
                request(client)
        except (OSError, UnexpectedResponse):
            failures += 1
        seconds.append(time.perf_counter() - began)
        time.sleep(PAUSE)
    seconds.sort()
    return {
        "p50 ms": statistics.median(seconds) * 1000,
        "p99 ms": seconds[(len(seconds) * 99 - 1) // 100] * 1000,
        "max ms": seconds[-1] * 1000,
        "failed": float(failures),
    }


@contextlib.contextmanager
def _silent_clients(target: Target, count: int) -> Iterator[list[Client]]:
    stop = threading.Event()
    with open_clients(target, count, begin_and_pause) as clients:
        dribbler = threading.Thread(target=_dribble, args=(clients[::2], stop))
        dribbler.start()
        try:
            yield clients
        finally:
            stop.set()
            dribbler.join()


def begin_and_pause(client: Client) -> None:
    """Create an upload, begin a PATCH, and send nothing after the first `HEAD_BYTES`."""
    client.begin_patch(client.create(MIB), MIB)
    client.send_body(HEAD_BYTES)


def _dribble(clients: list[Client], stop: threading.Event) -> None:
    """Send one byte of each client in `DRIBBLE_SECONDS`, one client after the other."""
    while clients:
        for client in clients:
            if stop.wait(DRIBBLE_SECONDS / len(clients)):
                return
            with contextlib.suppress(OSError):  # The server has disconnected the client.
                client.socket.send(b"x")


def _is_closed(client: Client) -> bool:
    """Return whether the server has sent a response, which ends the request of a silent client."""
    client.socket.setblocking(False)  # noqa: FBT003
    try:
        client.socket.recv(1)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True
