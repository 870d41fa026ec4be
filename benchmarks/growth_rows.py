"""The rows of `python -m benchmarks growth`: an amount that grows, and how to measure the costs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from statistics import median

from benchmarks.client import Client
from benchmarks.crowd import open_clients, raise_file_limit
from benchmarks.options import Options
from benchmarks.scenarios import SETTLE_SECONDS, run_workers, upload_repeatedly
from benchmarks.silent import begin_and_pause
from benchmarks.sweep import COUNTS, measure_sweep
from benchmarks.testbed import Target, Testbed
from benchmarks.usage import Meter, Usage, resident_memory
from tus_wsgi.domain.model import GIB, KIB, MIB
from tus_wsgi.settings.values import build_size

UPLOAD_SIZE = 2 * MIB
LARGE_UPLOAD_SIZE = 32 * MIB

MAX_IDLE_CLIENTS = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """An amount that grows, and the costs of a unit of work.

    Attributes:
        name: the name in the command and in the plot.
        description: what is measured.
        amounts: the amounts, from the smallest to the largest.
        measure: returns the figures of one amount, measured with new servers.
        cpu: the figures that are CPU time of a unit of work.
        calls: the figures that are S3 calls of a unit of work.
        adapt: returns the options of this row.
        text: returns the text of an amount.
    """

    name: str
    description: str
    amounts: tuple[int, ...]
    measure: Callable[[Testbed, int], Mapping[str, float]]
    cpu: tuple[str, ...]
    calls: tuple[str, ...]
    adapt: Callable[[Options], Options] = lambda options: options
    text: Callable[[int], str] = "{:,}".format


def _usage(target: Target, work: Callable[[], object]) -> Usage:
    """Return what the server uses for `work`, with what it does after its last response."""
    meter = Meter(target.pid)
    work()
    time.sleep(SETTLE_SECONDS)
    return meter.read()


def _calls(target: Target, work: Callable[[], object], units: int) -> float:
    """Return the S3 calls of a unit of `work` by a server whose calls a proxy counts."""
    assert target.proxy is not None
    target.proxy.counts()
    work()
    time.sleep(SETTLE_SECONDS)
    return sum(target.proxy.counts().values()) / units


def _requests(
    testbed: Testbed, target: Target, name: str, request: Callable[[int], object]
) -> dict[str, float]:
    """Measure `Options.requests` small requests, whose CPU time does not depend on the proxy."""
    count = testbed.options.requests

    def send_all() -> None:
        for number in range(count):
            request(number)

    usages: list[Usage] = []
    calls = _calls(target, lambda: usages.append(_usage(target, send_all)), count)
    return {f"CPU ms/{name}": usages[0].cpu * 1000 / count, f"S3 calls/{name}": calls}


def _uploads(size: int, testbed: Testbed, at_once: int) -> dict[str, float]:
    """Upload `Options.size` bytes in files of `size` bytes, `at_once` files at the same time."""
    count = max(testbed.options.size // size, at_once)
    (target,), (proxied,) = testbed.targets(), testbed.targets(proxied=True)

    def upload(target: Target, count: int) -> None:
        run_workers(at_once, count, partial(upload_repeatedly, target, size, with_data=True))

    usage = _usage(target, lambda: upload(target, count))
    return {
        "CPU ms/MiB": usage.cpu * 1000 / (count * size / MIB),
        "S3 calls/upload": _calls(proxied, lambda: upload(proxied, at_once), at_once),
        "peak RSS MiB": usage.peak_rss / MIB,
    }


def _parts(testbed: Testbed, stored: int) -> dict[str, float]:
    """Measure requests for an upload that has `stored` parts, and more after each PATCH."""
    (target,) = testbed.targets(proxied=True)
    part = testbed.options.part_size
    with Client(target.url) as client:
        # One part is missing after all requests, so none of them completes the upload.
        path = client.create(part * (stored + testbed.options.requests + 1))
        client.patch(path, part * stored)

        def head(_number: int) -> None:
            client.head(path)

        def patch(number: int) -> None:
            client.patch(path, part, offset=part * (stored + number))

        return {
            **_requests(testbed, target, "HEAD", head),
            **_requests(testbed, target, "PATCH of a part", patch),
        }


def _sweep(testbed: Testbed, finished: int) -> dict[str, float]:
    """Measure `tus-wsgi sweep` in a bucket with `finished` finished uploads."""
    start = median(measure_sweep(testbed, 0).cpu_seconds for _ in range(3))
    cost = measure_sweep(testbed, finished)
    return {
        "CPU ms/finished upload": (cost.cpu_seconds - start) * 1000 / finished,
        "S3 calls/finished upload": cost.calls / finished,
        "peak RSS MiB": cost.peak_rss / MIB,
    }


def _idle(testbed: Testbed, count: int) -> dict[str, float]:
    """Measure a worker while `count` clients send nothing in the middle of a PATCH."""
    raise_file_limit(4 * MAX_IDLE_CLIENTS)
    (target,) = testbed.targets(proxied=True)
    memory = resident_memory(target.pid)
    with ExitStack() as stack:
        opening = _usage(
            target, lambda: stack.enter_context(open_clients(target, count, begin_and_pause))
        )
        memory = resident_memory(target.pid) - memory
        seconds = testbed.options.idle_seconds
        waiting = _usage(target, lambda: time.sleep(seconds)).cpu * 1000
        waiting /= seconds + SETTLE_SECONDS
        figures = {"CPU ms/s while idle": waiting}
        if count:
            figures |= {
                "CPU ms/s while idle, per 1,000 clients": waiting * 1000 / count,
                "CPU ms to accept a client": opening.cpu * 1000 / count,
                "KiB of memory/client": memory / KIB / count,
            }
        other = stack.enter_context(Client(target.url))
        return figures | _requests(
            testbed, target, "other upload", lambda _number: other.upload(KIB, with_data=True)
        )


def _patches(testbed: Testbed, size: int) -> dict[str, float]:
    """Upload a file in PATCHes of `size` bytes. The file is smaller if they are small."""
    (target,), (proxied,) = testbed.targets(), testbed.targets(proxied=True)
    bound = testbed.options.size
    length = max(size, min(bound, max(256 * size, bound // 32)))
    counted = max(size, min(bound, 64 * MIB))

    def upload(target: Target, length: int) -> None:
        with Client(target.url) as client:
            client.upload_in_steps(length, size)

    return {
        "CPU ms/MiB": _usage(target, lambda: upload(target, length)).cpu * 1000 * MIB / length,
        "S3 calls/MiB": _calls(proxied, lambda: upload(proxied, counted), counted) * MIB,
    }


ROWS = {
    row.name: row
    for row in (
        Row(
            name="uploads",
            description=f"Uploads of {build_size(UPLOAD_SIZE)} at once.",
            amounts=(1, 5, 20, 100, 500),
            measure=partial(_uploads, UPLOAD_SIZE),
            cpu=("CPU ms/MiB",),
            calls=("S3 calls/upload",),
        ),
        Row(
            name="large",
            description=f"Uploads of {build_size(LARGE_UPLOAD_SIZE)} at once.",
            amounts=(1, 5, 20, 40),
            measure=partial(_uploads, LARGE_UPLOAD_SIZE),
            cpu=("CPU ms/MiB",),
            calls=("S3 calls/upload",),
        ),
        Row(
            name="parts",
            description=(
                "Parts that an upload has. HEAD reads everything from S3, and lists the last 125 "
                "parts. That is about half of the parts that a record leaves unnamed at most."
            ),
            amounts=(1, 125, 1125, 5125, 9625),
            measure=_parts,
            cpu=("CPU ms/HEAD", "CPU ms/PATCH of a part"),
            calls=("S3 calls/HEAD", "S3 calls/PATCH of a part"),
            adapt=lambda options: replace(options, part_size=KIB),
        ),
        Row(
            name="sweep",
            description="Finished uploads in the bucket of `tus-wsgi sweep`, without its start.",
            amounts=COUNTS,
            measure=_sweep,
            cpu=("CPU ms/finished upload",),
            calls=("S3 calls/finished upload",),
        ),
        Row(
            name="idle",
            description="Clients that send nothing in the middle of a PATCH, and another client.",
            amounts=(0, 100, 500, 1000, MAX_IDLE_CLIENTS),
            measure=_idle,
            cpu=(
                "CPU ms/other upload",
                "CPU ms/s while idle, per 1,000 clients",
                "CPU ms to accept a client",
            ),
            calls=("S3 calls/other upload",),
            # Above three quarters of the connections, the worker ends the slowest bodies.
            adapt=lambda options: replace(options, worker_connections=2 * MAX_IDLE_CLIENTS),
        ),
        Row(
            name="patches",
            description="Bytes of each PATCH of an upload.",
            amounts=(64 * KIB, 256 * KIB, MIB, 8 * MIB, 64 * MIB, GIB),
            measure=_patches,
            cpu=("CPU ms/MiB",),
            calls=("S3 calls/MiB",),
            text=build_size,
        ),
    )
}
