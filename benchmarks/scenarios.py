"""Scenarios a to d: large, many and small uploads, and an S3 that is far away."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import repeat

from benchmarks import direct
from benchmarks.client import Client, Refused, seconds_for_upload
from benchmarks.results import Measure, Result, in_turn
from benchmarks.testbed import Stage, Target
from benchmarks.usage import Meter, Usage, open_temporary_files
from tus_wsgi.domain.model import GIB, MIB
from tus_wsgi.settings.values import build_size

SETTLE = 0.2
"""Seconds after the last answer that a server may still be tidying up, on its own account."""

COUNTED = 20
"""Small uploads whose S3 calls are counted; each costs the same."""

MODES = {"POST with the bytes": True, "POST and PATCH": False}


def large(stage: Stage) -> Result:
    """One upload, one PATCH, one worker; beside boto3 alone."""
    options = stage.options

    def measures() -> Mapping[str, Measure]:
        stage.begin_round(options.size * 7)
        targets = [*stage.targets(), *stage.readme_node()]
        by_name = {target.name: partial(_large, stage, target) for target in targets}
        return {**by_name, **_direct(stage, stage.s3.endpoint)}

    what = (
        f"{build_size(options.size)} in one PATCH, {options.workers} worker(s), parts of "
        f"{build_size(options.part_size)}; and `upload_fileobj` of the same bytes to the same S3, "
        f"{options.parallel} parts at once."
    )
    return Result("large", what, list(in_turn(options.rounds, measures)))


def many(stage: Stage) -> Result:
    """Uploads side by side."""
    count, size = stage.options.many

    def measures() -> Mapping[str, Measure]:
        stage.begin_round(count * size * 3)
        return {target.name: partial(_many, stage, target) for target in stage.targets()}

    each = build_size(size)
    what = f"{count} uploads of {each} at the same time, each over a connection of its own."
    return Result("many", what, list(in_turn(stage.options.rounds, measures)))


def small(stage: Stage) -> Result:
    """Small uploads over kept-alive connections, in both ways."""
    count, size = stage.options.small

    def measures() -> Mapping[str, Measure]:
        stage.begin_round(count * size * 6)
        return {target.name: partial(_small, stage, target) for target in stage.targets()}

    what = (
        f"{count} uploads of {build_size(size)} over {stage.options.connections} connections. "
        "The S3 calls are counted in a run of their own."
    )
    samples = list(in_turn(stage.options.rounds, measures))
    samples += in_turn(
        1, lambda: {one.name: partial(_calls, stage, one) for one in stage.targets(proxied=True)}
    )
    return Result("small", what, samples)


def far(stage: Stage) -> Result:
    """A large upload to an S3 behind a long, thin line."""
    options = stage.options

    def measures() -> Mapping[str, Measure]:
        stage.begin_round(options.size * 4)
        targets = stage.targets(proxied=True)
        by_name = {target.name: partial(_far, stage, target) for target in targets}
        directly = _direct(stage, stage.proxy.url, kinds=["boto3, as here"])
        return {**by_name, **{name: partial(_far_away, stage, do) for name, do in directly.items()}}

    what = (
        f"{build_size(options.size)} in one PATCH, through a proxy that adds "
        f"{options.delay * 1000:.0f} ms to each call and limits each connection to "
        f"{options.rate / 1e6:.0f} MB/s. The line allows {line_limit(stage):.2f} s: parts of "
        f"{build_size(options.part_size)}, {options.parallel} at once."
    )
    return Result("far S3", what, list(in_turn(options.rounds, measures)))


def line_limit(stage: Stage) -> float:
    """Seconds that the parts alone take on such a line, whoever sends them."""
    options = stage.options
    full, rest = divmod(options.size, options.part_size * options.parallel)
    last = min(rest, options.part_size)
    seconds = full * (options.delay + options.part_size / options.rate)
    return seconds + (options.delay + last / options.rate if last else 0.0)


def _large(stage: Stage, target: Target) -> dict[str, float]:
    size = stage.options.size
    meter = Meter(target.pid)
    wall = seconds_for_upload(target.url, size)
    time.sleep(SETTLE)
    return _figures(size, wall, meter.read())


def _direct(
    stage: Stage, endpoint: str, *, kinds: list[str] | None = None
) -> dict[str, Callable[[], dict[str, float]]]:
    def run(kind: str) -> dict[str, float]:
        options = stage.options
        cost = direct.upload(
            kind,
            environ=stage.environ(),
            endpoint=endpoint,
            bucket=stage.s3.bucket,
            key="direct",
            size=options.size,
            part_size=options.part_size,
            parallel=options.parallel,
        )
        return _figures(options.size, cost.wall, Usage(cost.cpu, cost.peak_rss))

    return {kind: partial(run, kind) for kind in kinds or stage.options.direct or direct.KINDS}


def _many(stage: Stage, target: Target) -> dict[str, float]:
    count, size = stage.options.many
    meter = Meter(target.pid)
    failures = 0
    began = time.perf_counter()
    with ThreadPoolExecutor(count) as clients:
        for done in [clients.submit(seconds_for_upload, target.url, size) for _ in range(count)]:
            failures += isinstance(done.exception(), OSError | Refused)
    wall = time.perf_counter() - began
    time.sleep(SETTLE)
    left = open_temporary_files(target.pid)
    if target.temporary is not None:
        left += sum(one.is_file() for one in target.temporary.rglob("*"))
    more = {"failed": float(failures), "temporary files left": float(left)}
    return {**_figures(count * size, wall, meter.read()), **more}


def _small(stage: Stage, target: Target) -> dict[str, float]:
    count, size = stage.options.small
    figures: dict[str, float] = {}
    for mode, with_upload in MODES.items():
        meter = Meter(target.pid)
        began = time.perf_counter()
        seconds = _share(
            stage.options.connections,
            count,
            partial(_uploads, target, size, with_upload=with_upload),
        )
        wall = time.perf_counter() - began
        time.sleep(SETTLE)
        usage = meter.read()
        figures |= {
            f"{mode}: uploads/s": count / wall,
            f"{mode}: CPU ms/upload": usage.cpu / count * 1000,
            f"{mode}: p50 ms": statistics.median(seconds) * 1000,
            f"{mode}: p99 ms": sorted(seconds)[(len(seconds) * 99 - 1) // 100] * 1000,
        }
    return figures


def _uploads(
    target: Target, size: int, take: Callable[[], bool], *, with_upload: bool
) -> list[float]:
    """Upload as long as there is something to take; the seconds of each."""
    seconds = []
    with Client(target.url) as client:
        while take():
            began = time.perf_counter()
            client.upload(size, with_upload=with_upload)
            seconds.append(time.perf_counter() - began)
    return seconds


def _share(
    workers: int, count: int, work: Callable[[Callable[[], bool]], list[float]]
) -> list[float]:
    """Let threads share `count` pieces of work."""
    left = iter(repeat(None, count))
    mutex = threading.Lock()

    def take() -> bool:
        with mutex:
            return next(left, 0) is None

    with ThreadPoolExecutor(workers) as pool:
        done = [pool.submit(work, take) for _ in range(workers)]
        return [one for share in done for one in share.result()]


def _calls(stage: Stage, target: Target) -> dict[str, float]:
    assert target.proxy is not None
    _, size = stage.options.small
    figures = {}
    for mode, with_upload in MODES.items():
        target.proxy.counts()
        with Client(target.url) as client:
            for _ in range(COUNTED):
                client.upload(size, with_upload=with_upload)
        time.sleep(SETTLE)
        figures[f"{mode}: S3 calls/upload"] = sum(target.proxy.counts().values()) / COUNTED
    return figures


def _far(stage: Stage, target: Target) -> dict[str, float]:
    return _far_away(stage, partial(_large, stage, target), target)


def _far_away(
    stage: Stage, measure: Callable[[], dict[str, float]], target: Target | None = None
) -> dict[str, float]:
    line = (target.proxy if target else None) or stage.proxy
    line.set_line(delay=stage.options.delay, rate=stage.options.rate)
    try:
        figures = measure()
    finally:
        line.set_line(delay=0, rate=0)
    return {"x of the line's limit": figures["wall s"] / line_limit(stage), **figures}


def _figures(size: int, wall: float, usage: Usage) -> dict[str, float]:
    return {
        "wall s": wall,
        "MiB/s": size / MIB / wall,
        "CPU s/GiB": usage.cpu * GIB / size,
        "peak RSS MiB": usage.peak_rss / MIB,
    }
