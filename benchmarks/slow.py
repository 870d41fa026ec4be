"""Scenario e: hundreds of slow clients beside a fast one."""

from __future__ import annotations

import contextlib
import resource
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from benchmarks.client import Client, block, seconds_for_upload
from benchmarks.results import Measure, Result, in_turn
from benchmarks.testbed import Stage, Target
from benchmarks.usage import Meter
from tus_wsgi.domain.model import GIB, MIB
from tus_wsgi.settings.values import build_size

BEATS = 8
"""How often a second each slow client sends something."""

OPENERS = 16

RAMP = 1.0
"""Seconds that the slow ones run before the fast one begins."""


def slow(stage: Stage) -> Result:
    """The fast client alone, and then with the others."""
    count, rate = stage.options.slow
    # Here each client is a connection; in a server that inherits the limit it may be a file too.
    _allow_files(2 * count + 500)

    def measures() -> Mapping[str, Measure]:
        stage.begin_round(stage.options.size * 6)
        return {target.name: partial(_slow, stage, target) for target in stage.targets()}

    what = (
        f"{count} clients that send {build_size(rate)}/s each, and one that sends "
        f"{build_size(stage.options.size)} as fast as it can: alone, and beside them."
    )
    return Result("slow clients", what, list(in_turn(stage.options.rounds, measures)))


def _slow(stage: Stage, target: Target) -> dict[str, float]:
    size = stage.options.size
    alone = seconds_for_upload(target.url, size)
    meter = Meter(target.pid)
    with _crowd(stage, target) as lost:
        beside = seconds_for_upload(target.url, size)
    return {
        "alone MiB/s": size / MIB / alone,
        "beside MiB/s": size / MIB / beside,
        "kept": alone / beside,
        "slow clients that were hung up on": len(lost),
        "peak RSS MiB": meter.read().peak_rss / MIB,
    }


@contextlib.contextmanager
def _crowd(stage: Stage, target: Target) -> Iterator[set[Client]]:
    """The slow clients, sending; they hang up in the end, and the server keeps what came.

    Yields:
        those that the server has hung up on: it is not as if they were not there.
    """
    count, rate = stage.options.slow
    with contextlib.ExitStack() as stack:
        with ThreadPoolExecutor(OPENERS) as openers:
            clients = list(openers.map(partial(_open, target), range(count)))
        for client in clients:
            stack.callback(client.close)
        stop = threading.Event()
        lost: set[Client] = set()
        sender = threading.Thread(target=_drip, args=(clients, rate // BEATS, stop, lost))
        sender.start()
        try:
            time.sleep(RAMP)
            yield lost
        finally:
            stop.set()
            sender.join()
    # Each has a rest to store. It belongs to no measurement.
    _wait_until_idle(target)


def _open(target: Target, _number: int) -> Client:
    client = Client(target.url)
    path = client.create(GIB)
    client.begin_patch(path, GIB)
    return client


def _drip(clients: list[Client], step: int, stop: threading.Event, lost: set[Client]) -> None:
    data = memoryview(block())[:step]
    for client in clients:
        client.socket.setblocking(False)  # noqa: FBT003
    beat = time.monotonic()
    while not stop.is_set():
        for client in clients:
            try:
                client.socket.send(data)
            except BlockingIOError:
                pass  # A server that does not read just now loses nothing but time.
            except OSError:
                lost.add(client)
        beat += 1 / BEATS
        stop.wait(max(0.0, beat - time.monotonic()))


def _wait_until_idle(target: Target, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        meter = Meter(target.pid)
        time.sleep(0.5)
        if meter.read().cpu <= 0.02:
            return


def _allow_files(count: int) -> None:
    least, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if least < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(count, most), most))
