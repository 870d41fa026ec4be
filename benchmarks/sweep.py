"""The scenario `sweep`: what a sweep costs, for more and more finished uploads in the bucket."""

from __future__ import annotations

import os
import resource
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

import psutil

from benchmarks.results import Measure, Result, alternate
from benchmarks.testbed import ROOT, S3, TUS_WSGI, Testbed
from benchmarks.usage import peak_memory
from demo.process import SetupError
from tus_wsgi.domain.model import MIB, State, UploadId, UploadInfo
from tus_wsgi.domain.parts import PartPlan
from tus_wsgi.stores.s3.client import make_client
from tus_wsgi.stores.s3.direct import direct_calls
from tus_wsgi.stores.s3.keys import Keys
from tus_wsgi.stores.s3.record import UploadRecord, encode
from tus_wsgi.stores.s3.record_size import pad_to_state

COUNTS = (1_000, 10_000, 100_000)

PEAK_INTERVAL = 0.02
"""Seconds between two looks at the memory of the sweep."""

WRITERS = 16
"""Threads that write uploads."""

CONTENT = b"a file"


class SweepCost(NamedTuple):
    """What a sweep cost.

    Attributes:
        cpu_seconds: in user and system mode, with the start of the command.
        calls: the number of S3 calls.
        peak_rss: the peak memory of the process in bytes.
    """

    cpu_seconds: float
    calls: int
    peak_rss: int


def sweep(testbed: Testbed) -> Result:
    """Measure `tus-wsgi sweep --no-hook` for the numbers of uploads in `COUNTS`."""

    def measures() -> Mapping[str, Measure]:
        roots = {TUS_WSGI: ROOT}
        if testbed.options.compared:
            roots[f"{TUS_WSGI} {testbed.options.compared}"] = testbed.checkout()
        return {name: partial(_figures, testbed, root) for name, root in roots.items()}

    description = (
        "`tus-wsgi sweep --no-hook`, if all uploads in the bucket are finished. The CPU time of an "
        "upload does not contain the start of the command."
    )
    return Result("sweep", description, list(alternate(testbed.options.rounds, measures)), [])


def _figures(testbed: Testbed, root: Path) -> dict[str, float]:
    figures: dict[str, float] = {}
    start = measure_sweep(testbed, 0, root=root).cpu_seconds
    for count in (number for number in COUNTS if number <= testbed.options.finished):
        cost = measure_sweep(testbed, count, root=root)
        figures |= {
            f"{count} uploads: CPU s": cost.cpu_seconds,
            f"{count} uploads: CPU ms/upload": 1000 * (cost.cpu_seconds - start) / count,
            f"{count} uploads: S3 calls": cost.calls,
            f"{count} uploads: peak RSS MiB": cost.peak_rss / MIB,
        }
    return figures


def measure_sweep(testbed: Testbed, finished: int, *, root: Path = ROOT) -> SweepCost:
    """Write `finished` finished uploads below a new prefix, and sweep it.

    Args:
        testbed: has the S3 service, and a proxy that counts the calls.
        finished: the number of uploads.
        root: the directory of the project that sweeps.
    """
    prefix = f"{secrets.token_hex(4)}/"
    write_finished(testbed.s3, prefix, finished)
    testbed.proxy.counts()
    with tempfile.TemporaryDirectory(dir=testbed.options.directory) as scratch:
        environ = {
            **testbed.environ(),
            "TUS_S3_ENDPOINT": testbed.proxy.url,
            "TUS_S3_BUCKET": testbed.s3.bucket,
            "TUS_S3_OBJECT_PREFIX": prefix,
            "TUS_LOCK_DIR": f"{scratch}/locks",
        }
        log = Path(scratch, "log")
        with log.open("w") as output:
            # Python imports the package from the working directory.
            process = subprocess.Popen(
                [sys.executable, "-m", "tus_wsgi", "sweep", "--no-hook", "--min-age", "1d"],
                env=environ,
                cwd=root,
                stdout=output,
                stderr=output,
            )
            usage, peak = _wait(process)
        lines = log.read_text().splitlines()
    if lines[-1:] != [f"{finished} examined, nothing to do"]:
        raise SetupError(f"the sweep has printed {lines[-5:]}")
    calls = sum(testbed.proxy.counts().values())
    return SweepCost(usage.ru_utime + usage.ru_stime, calls, peak)


def _wait(process: subprocess.Popen[bytes]) -> tuple[resource.struct_rusage, int]:
    """Wait for the end of a process.

    Returns:
        its CPU times, and its peak memory in bytes. `ru_maxrss` would count the memory of this
        process too, because the child has it until the child runs its own program.
    """
    meter = psutil.Process(process.pid)
    peak = 0
    while True:
        ended, status, usage = os.wait4(process.pid, os.WNOHANG)
        if ended:
            process.returncode = os.waitstatus_to_exitcode(status)
            return usage, peak
        with suppress(OSError, psutil.Error):
            peak = max(peak, peak_memory(meter))
        time.sleep(PEAK_INTERVAL)


def write_finished(s3: S3, prefix: str, count: int) -> None:
    """Write the objects of finished uploads, as a server does for uploads in one request.

    The finish of one half of them is recorded, as if there was a hook. The records of the others
    announce their objects.
    """
    os.environ.update(s3.environ)
    client = make_client(endpoint=s3.endpoint, parallel_parts=WRITERS)
    calls, keys = direct_calls(client), Keys(prefix)

    def write(number: int) -> None:
        id = UploadId(secrets.token_urlsafe(16))
        state = State.FINISHED if number % 2 else State.FINISHING
        info = UploadInfo(id, len(CONTENT))
        record = UploadRecord(info, s3.bucket, keys.data(id), None, PartPlan(16 * MIB))
        record = record.with_state(state)
        content = pad_to_state(record, encode(record))
        for key, body in ((keys.info(id), content), (keys.data(id), CONTENT)):
            calls.put_object(Bucket=s3.bucket, Key=key, Body=bytearray(body))

    with ThreadPoolExecutor(WRITERS) as executor:
        for _ in executor.map(write, range(count)):
            pass
