"""The scenario `slow`: a fast client while hundreds of slow clients upload."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping
from functools import partial

from benchmarks.client import Client, block, time_upload
from benchmarks.crowd import open_clients, raise_file_limit, wait_until_idle
from benchmarks.results import Measure, Result, alternate
from benchmarks.testbed import Target, Testbed
from benchmarks.usage import Meter
from tus_wsgi.domain.model import GIB, MIB
from tus_wsgi.settings.values import build_size

SENDS_PER_SECOND = 8
"""The number of times per second that each slow client sends."""

RAMP_SECONDS = 1.0
"""The seconds for which the slow clients send before the fast client starts."""


def slow(testbed: Testbed) -> Result:
    """Measure the fast client alone and then with the slow clients."""
    count, rate = testbed.options.slow
    # Each client is a connection here. The servers inherit the limit, and may need a temporary file
    # for each client as well.
    raise_file_limit(2 * count + 500)

    def measures() -> Mapping[str, Measure]:
        testbed.begin_round(testbed.options.size * 6)
        return {target.name: partial(_slow, testbed, target) for target in testbed.targets()}

    description = (
        f"{count} clients that send {build_size(rate)}/s each, and one that sends "
        f"{build_size(testbed.options.size)} at full speed: alone, then with the slow clients."
    )
    return Result("slow clients", description, list(alternate(testbed.options.rounds, measures)))


def _slow(testbed: Testbed, target: Target) -> dict[str, float]:
    size = testbed.options.size
    alone = time_upload(target.url, size)
    meter = Meter(target.pid)
    with _slow_clients(testbed, target) as disconnected:
        with_slow_clients = time_upload(target.url, size)
    return {
        "alone MiB/s": size / MIB / alone,
        "with slow clients MiB/s": size / MIB / with_slow_clients,
        "rate kept": alone / with_slow_clients,
        "slow clients disconnected": len(disconnected),
        "peak RSS MiB": meter.read().peak_rss / MIB,
    }


@contextlib.contextmanager
def _slow_clients(testbed: Testbed, target: Target) -> Iterator[set[Client]]:
    """Run the slow clients while the block of `with` runs, then close their connections.

    Yields:
        The clients that the server has disconnected, which no longer cause load.
    """
    count, rate = testbed.options.slow
    with open_clients(target, count, _begin) as clients:
        stop = threading.Event()
        disconnected: set[Client] = set()
        sender = threading.Thread(
            target=_send_slowly, args=(clients, rate // SENDS_PER_SECOND, stop, disconnected)
        )
        sender.start()
        try:
            time.sleep(RAMP_SECONDS)
            yield disconnected
        finally:
            stop.set()
            sender.join()
    # The server still stores the last bytes of each client. Do not measure that.
    wait_until_idle(target)


def _begin(client: Client) -> None:
    client.begin_patch(client.create(GIB), GIB)


def _send_slowly(
    clients: list[Client], size: int, stop: threading.Event, disconnected: set[Client]
) -> None:
    """Send `size` bytes over each connection `SENDS_PER_SECOND` times a second until `stop`.

    Clients whose connection fails are added to `disconnected`.
    """
    data = memoryview(block())[:size]
    for client in clients:
        client.socket.setblocking(False)  # noqa: FBT003
    next_send = time.monotonic()
    while not stop.is_set():
        for client in clients:
            try:
                client.socket.send(data)
            except BlockingIOError:
                pass  # The server is not reading now. The client sends again at the next interval.
            except OSError:
                disconnected.add(client)
        next_send += 1 / SENDS_PER_SECOND
        stop.wait(max(0.0, next_send - time.monotonic()))
