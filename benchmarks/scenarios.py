"""The scenarios `large`, `many`, `small` and `far`."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from benchmarks import direct
from benchmarks.client import Client, UnexpectedResponse, time_upload
from benchmarks.results import Measure, Result, alternate
from benchmarks.testbed import Target, Testbed
from benchmarks.usage import Meter, Usage, open_temporary_files
from tus_wsgi.domain.model import GIB, MIB
from tus_wsgi.settings.values import build_size

SETTLE_SECONDS = 0.2
"""Seconds for what a server does after its last response. Its usage in them is measured too."""

COUNTED_UPLOADS = 20
"""The number of small uploads whose S3 calls are counted. Each needs the same calls."""

MODES = {"POST with data": True, "POST and PATCH": False}


def large(testbed: Testbed) -> Result:
    """Measure one large upload in one PATCH, compared with boto3 alone."""
    options = testbed.options

    def measures() -> Mapping[str, Measure]:
        testbed.begin_round(options.size * 8)  # 4 servers, the relay, and 3 kinds of boto3
        targets = [*testbed.targets(), *testbed.readme_node(), *testbed.relay()]
        by_name = {target.name: partial(_large, testbed, target) for target in targets}
        return {**by_name, **_direct(testbed, testbed.s3.endpoint)}

    description = (
        f"{build_size(options.size)} in one PATCH, {options.workers} worker(s), parts of "
        f"{build_size(options.part_size)}, compared with `upload_fileobj` of the same bytes to the "
        f"same S3, {options.parallel} parts at once."
    )
    return Result("large", description, list(alternate(options.rounds, measures)))


def many(testbed: Testbed) -> Result:
    """Measure concurrent uploads."""
    count, size = testbed.options.many

    def measures() -> Mapping[str, Measure]:
        testbed.begin_round(count * size * 5)  # 4 servers and the relay
        targets = [*testbed.targets(), *testbed.relay()]
        return {target.name: partial(_many, testbed, target) for target in targets}

    description = f"{count} concurrent uploads of {build_size(size)}, each over its own connection."
    return Result("many", description, list(alternate(testbed.options.rounds, measures)))


def small(testbed: Testbed) -> Result:
    """Measure small uploads over keep-alive connections, in each of `MODES`."""
    count, size = testbed.options.small

    def measures() -> Mapping[str, Measure]:
        testbed.begin_round(count * size * 8)  # 4 servers in 2 modes
        return {target.name: partial(_small, testbed, target) for target in testbed.targets()}

    description = (
        f"{count} uploads of {build_size(size)} over {testbed.options.connections} connections. "
        "A separate run counts the S3 calls."
    )

    def counts() -> Mapping[str, Measure]:
        targets = testbed.targets(proxied=True)
        return {target.name: partial(_count_calls, testbed, target) for target in targets}

    samples = [*alternate(testbed.options.rounds, measures), *alternate(1, counts)]
    return Result("small", description, samples)


def far(testbed: Testbed) -> Result:
    """Measure a large upload to an S3 over a link with high latency and a limited rate."""
    options = testbed.options

    def measures() -> Mapping[str, Measure]:
        testbed.begin_round(options.size * 5)  # 4 servers and boto3
        targets = testbed.targets(proxied=True)
        by_name = {target.name: partial(_far, testbed, target) for target in targets}
        baseline = _direct(testbed, testbed.proxy.url, kinds=["boto3, CRC-32"])
        return {
            **by_name,
            **{name: partial(_over_link, testbed, measure) for name, measure in baseline.items()},
        }

    description = (
        f"{build_size(options.size)} in one PATCH, through a proxy that adds "
        f"{options.delay * 1000:.0f} ms to each call and limits each connection to "
        f"{options.rate / 1e6:.0f} MB/s. The link allows {link_limit(testbed):.2f} s: parts of "
        f"{build_size(options.part_size)}, {options.parallel} at once."
    )
    return Result("far S3", description, list(alternate(options.rounds, measures)))


def link_limit(testbed: Testbed) -> float:
    """Return the seconds that the link needs for the parts, which no sender can go below.

    Parts are sent in batches of `options.parallel`, each part over a connection of its own.
    """
    options = testbed.options
    full_batches, rest = divmod(options.size, options.part_size * options.parallel)
    seconds = full_batches * (options.delay + options.part_size / options.rate)
    if rest:
        largest_part = min(rest, options.part_size)
        seconds += options.delay + largest_part / options.rate
    return seconds


def _large(testbed: Testbed, target: Target) -> dict[str, float]:
    size = testbed.options.size
    meter = Meter(target.pid)
    wall = time_upload(target.url, size)
    time.sleep(SETTLE_SECONDS)
    return _figures(size, wall, meter.read())


def _direct(
    testbed: Testbed, endpoint: str, *, kinds: list[str] | None = None
) -> dict[str, Callable[[], dict[str, float]]]:
    """Return a measurement of each kind of upload with boto3 alone; None means the options' kinds.

    Args:
        testbed: the servers of the run.
        endpoint: the URL of S3, or of the proxy in front of it.
        kinds: keys of `direct.KINDS`.
    """

    def run(kind: str) -> dict[str, float]:
        options = testbed.options
        cost = direct.upload(
            kind,
            environ=testbed.environ(),
            endpoint=endpoint,
            bucket=testbed.s3.bucket,
            key="direct",
            size=options.size,
            part_size=options.part_size,
            parallel=options.parallel,
        )
        return _figures(options.size, cost.wall, Usage(cost.cpu, cost.peak_rss))

    return {kind: partial(run, kind) for kind in kinds or testbed.options.direct or direct.KINDS}


def _many(testbed: Testbed, target: Target) -> dict[str, float]:
    count, size = testbed.options.many
    meter = Meter(target.pid)
    failures = 0
    began = time.perf_counter()
    with ThreadPoolExecutor(count) as clients:
        futures = [clients.submit(time_upload, target.url, size) for _ in range(count)]
        for future in futures:
            if isinstance(future.exception(), OSError | UnexpectedResponse):
                failures += 1
    wall = time.perf_counter() - began
    time.sleep(SETTLE_SECONDS)
    remaining = open_temporary_files(target.pid)
    if target.temporary is not None:
        remaining += sum(path.is_file() for path in target.temporary.rglob("*"))
    counts = {"failed": float(failures), "temporary files left": float(remaining)}
    return {**_figures(count * size, wall, meter.read()), **counts}


def _small(testbed: Testbed, target: Target) -> dict[str, float]:
    """Measure the small uploads of one target in each mode."""
    count, size = testbed.options.small
    figures: dict[str, float] = {}
    for mode, with_data in MODES.items():
        meter = Meter(target.pid)
        began = time.perf_counter()
        seconds = run_workers(
            testbed.options.connections,
            count,
            partial(upload_repeatedly, target, size, with_data=with_data),
        )
        wall = time.perf_counter() - began
        time.sleep(SETTLE_SECONDS)
        usage = meter.read()
        figures |= {
            f"{mode}: uploads/s": count / wall,
            f"{mode}: CPU ms/upload": usage.cpu / count * 1000,
            f"{mode}: p50 ms": statistics.median(seconds) * 1000,
            f"{mode}: p99 ms": sorted(seconds)[(len(seconds) * 99 - 1) // 100] * 1000,
        }
    return figures


def upload_repeatedly(
    target: Target, size: int, next_upload: Callable[[], bool], *, with_data: bool
) -> list[float]:
    """Upload while `next_upload` returns True, and return the seconds of each upload."""
    seconds = []
    with Client(target.url) as client:
        while next_upload():
            began = time.perf_counter()
            client.upload(size, with_data=with_data)
            seconds.append(time.perf_counter() - began)
    return seconds


def run_workers(
    workers: int, count: int, work: Callable[[Callable[[], bool]], list[float]]
) -> list[float]:
    """Distribute `count` uploads over threads, and return the seconds of each upload.

    Args:
        workers: the number of threads.
        count: the number of uploads.
        work: uploads while its argument returns True.
    """
    numbers = iter(range(count))
    mutex = threading.Lock()

    def next_upload() -> bool:
        with mutex:
            return next(numbers, None) is not None

    with ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(work, next_upload) for _ in range(workers)]
        return [seconds for future in futures for seconds in future.result()]


def _count_calls(testbed: Testbed, target: Target) -> dict[str, float]:
    """Return the S3 calls of a small upload in each mode, on average."""
    assert target.proxy is not None
    _, size = testbed.options.small
    figures = {}
    for mode, with_data in MODES.items():
        target.proxy.counts()  # drops earlier calls
        with Client(target.url) as client:
            for _ in range(COUNTED_UPLOADS):
                client.upload(size, with_data=with_data)
        time.sleep(SETTLE_SECONDS)
        figures[f"{mode}: S3 calls/upload"] = sum(target.proxy.counts().values()) / COUNTED_UPLOADS
    return figures


def _far(testbed: Testbed, target: Target) -> dict[str, float]:
    return _over_link(testbed, partial(_large, testbed, target), target)


def _over_link(
    testbed: Testbed, measure: Callable[[], dict[str, float]], target: Target | None = None
) -> dict[str, float]:
    """Measure with the delay and the rate of the far S3, and return the figures.

    Args:
        testbed: the servers of the run.
        measure: the measurement.
        target: the measured server; None for boto3 alone, which uses the testbed's proxy.
    """
    proxy = testbed.proxy if target is None or target.proxy is None else target.proxy
    proxy.set_link(delay=testbed.options.delay, rate=testbed.options.rate)
    try:
        figures = measure()
    finally:
        proxy.set_link(delay=0, rate=0)
    return {"x of the link's limit": figures["wall s"] / link_limit(testbed), **figures}


def _figures(size: int, wall: float, usage: Usage) -> dict[str, float]:
    return {
        "wall s": wall,
        "MiB/s": size / MIB / wall,
        "CPU s/GiB": usage.cpu * GIB / size,
        "peak RSS MiB": usage.peak_rss / MIB,
    }
