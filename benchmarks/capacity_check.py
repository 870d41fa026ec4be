"""Compare the model of `benchmarks.capacity` with 1, 2 and 4 workers on this machine.

    python -m benchmarks.capacity_check

The client, the server and SeaweedFS share the processors, and other programs may run beside them.
So the model predicts the rate of several workers from the CPU time with one worker. The rate has
two limits: each worker has one core, and all processes together have the cores that other programs
leave.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psutil

from benchmarks.options import Options
from benchmarks.scenarios import SETTLE_SECONDS, run_workers, upload_repeatedly
from benchmarks.testbed import Testbed
from benchmarks.usage import Meter
from tus_wsgi.domain.model import KIB

WORKERS = (1, 2, 4)

CONNECTIONS = 16


@dataclass(frozen=True, slots=True)
class Run:
    """The figures of one number of workers. CPU seconds are for one upload.

    Attributes:
        workers: the number of workers of the server.
        rate: uploads per second.
        server: CPU seconds of the server.
        everything: CPU seconds of the client, the server and SeaweedFS.
        left: cores that other programs left on average.
    """

    workers: int
    rate: float
    server: float
    everything: float
    left: float


def measure(workers: int, count: int, size: int) -> Run:
    """Upload `count` files of `size` bytes, which come with the creation."""
    with tempfile.TemporaryDirectory(prefix="tus-bench-") as scratch:
        options = Options(
            directory=Path(scratch),
            workers=workers,
            small=(count, size),
            connections=CONNECTIONS,
            has_peers=False,
        )
        with Testbed(options) as testbed:
            (target,) = testbed.targets()
            upload = partial(upload_repeatedly, target, size, with_data=True)
            # Each worker makes its connections to S3 with its first requests.
            run_workers(CONNECTIONS, 20 * workers, upload)
            everything, server = Meter(os.getpid()), Meter(target.pid)
            busy, began = _busy(), time.perf_counter()
            run_workers(CONNECTIONS, count, upload)
            wall = time.perf_counter() - began
            time.sleep(SETTLE_SECONDS)
            used = everything.read().cpu
            used_by_others = max(0.0, _busy() - busy - used)
            cores = psutil.cpu_count() or 1
            return Run(
                workers=workers,
                rate=count / wall,
                server=server.read().cpu / count,
                everything=used / count,
                left=cores - used_by_others / wall,
            )


def predicted_rate(run: Run, first: Run) -> float:
    """Return the rate that the model predicts for a run from the CPU times of the first one."""
    return min(run.workers / first.server, run.left / first.everything)


def as_markdown(runs: list[Run]) -> str:
    """Return the figures and the predictions as a table."""
    rows = [
        "| workers | uploads/s | predicted | CPU ms/upload, server | all | cores left by others |",
        "|---|---|---|---|---|---|",
    ]
    rows += [
        f"| {run.workers} | {run.rate:.0f} | {predicted_rate(run, runs[0]):.0f} "
        f"| {run.server * 1000:.1f} | {run.everything * 1000:.1f} | {run.left:.1f} |"
        for run in runs
    ]
    return "\n".join(rows) + "\n"


def _busy() -> float:
    """Return the seconds for which all processors of this machine have worked so far."""
    times = psutil.cpu_times()
    idle = times.idle + getattr(times, "iowait", 0.0)
    return float(sum(times[:8]) - idle)


def main() -> None:
    """Measure, and print the table."""
    argparse.ArgumentParser(
        prog="python -m benchmarks.capacity_check",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    ).parse_args()
    runs: list[Run] = []
    for workers in WORKERS:
        print(f"{workers} worker(s) ...", file=sys.stderr, flush=True)
        runs.append(measure(workers, 2000, 100 * KIB))
    print(as_markdown(runs), end="")


if __name__ == "__main__":
    main()
