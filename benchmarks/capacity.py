"""Compute how many workers a load needs, how S3 is used, and what that costs.

    python -m benchmarks.capacity --uploads-per-month 100e6 --size 5MiB
    python -m benchmarks.capacity --table       the table of docs/capacity.md

The model multiplies a load with the measured costs of an upload. docs/capacity.md describes it, and
has the command that measured each cost. Sizes are in bytes, times in seconds.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from tus_wsgi.domain.model import GIB, KIB, MIB
from tus_wsgi.domain.parts import PartLimits, plan_for
from tus_wsgi.lockers.lease.records import LeaseTiming
from tus_wsgi.settings.values import build_size, parse_size

MONTH = 730 * 60 * 60

LOCKERS = ("file", "dynamodb", "s3")


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What was measured, with the commands of docs/capacity.md. CPU is that of the server.

    Attributes:
        upload_cpu: seconds for a small file whose bytes come with the creation.
        request_cpu: seconds for each further request of an upload.
        gib_cpu: seconds for a GiB of bytes, with 50 uploads at a time.
        heartbeat_cpu: seconds for a heartbeat of a lease.
        worker_memory: bytes of a worker that does nothing.
        connection_memory: bytes for a client whose body arrives.
        connections: slow clients that one worker served beside a fast client.
    """

    upload_cpu: float = 0.0016
    request_cpu: float = 0.0004
    gib_cpu: float = 1.3
    heartbeat_cpu: float = 0.0025
    worker_memory: int = 85 * MIB
    connection_memory: int = 120 * KIB
    connections: int = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """Prices in USD, of AWS in us-east-1 in November 2025.

    Attributes:
        write: the price of a PUT, COPY, POST or LIST of S3. DELETE is free.
        read: the price of a GET or HEAD of S3.
        lock_write: the price of a write of DynamoDB, on demand.
        core_hour: the price of a virtual CPU with 2 GiB of memory for an hour. Yours may differ.
    """

    write: float = 0.005 / 1000
    read: float = 0.0004 / 1000
    lock_write: float = 0.625 / 1_000_000
    core_hour: float = 0.045


WRITES_PER_PREFIX = 3500
READS_PER_PREFIX = 5500
"""Requests per second for a prefix. S3 splits prefixes under load:
https://docs.aws.amazon.com/AmazonS3/latest/userguide/optimizing-performance.html"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What clients do.

    Attributes:
        uploads_per_month: uploads that are finished.
        size: bytes of a file.
        peak: the rate in the busiest minute divided by the average rate.
        requests: requests of an upload without interruptions: 1 if its creation has the bytes.
        resumes: interruptions of an upload, on average. Each adds a HEAD and a PATCH.
        client_rate: bytes per second of a client.
        locker: the value of TUS_LOCKER.
        memory_budget: the value of TUS_MEMORY_BUDGET, in bytes.
        utilization: the share of a core that a worker may use in the busiest minute.
    """

    uploads_per_month: float
    size: int
    peak: float = 4.0
    requests: int = 2
    resumes: float = 0.1
    client_rate: float = float(MIB)
    locker: str = "dynamodb"
    memory_budget: int = 256 * MIB
    utilization: float = 0.6


@dataclass(frozen=True, slots=True)
class Calls:
    """Calls for one upload, on average.

    Attributes:
        writes: calls that change the bucket, without `deletes`.
        reads: calls that read the bucket.
        deletes: deletions, which S3 limits like writes and does not charge for.
        lock_writes: writes of DynamoDB.
    """

    writes: float
    reads: float
    deletes: float
    lock_writes: float = 0.0


def duration(load: Load) -> float:
    """Return the seconds for which the requests of one upload run."""
    return load.size / load.client_rate


def heartbeats(load: Load) -> float:
    """Return the heartbeats of one upload; locks in files have none."""
    return 0.0 if load.locker == "file" else duration(load) // LeaseTiming().heartbeat


def calls(load: Load) -> Calls:
    """Return the calls of one upload, if another process handles each of its requests.

    `python -m benchmarks costs` counts them for one process: 2 PutObject for a file of one part,
    otherwise CreateMultipartUpload, UploadPart of each part, CompleteMultipartUpload, a HeadObject
    and 2 PutObject. Each later request runs in another process, which reads the record and the
    tail, and lists the parts. Each interrupted request writes a tail, which is deleted later.
    """
    plan = plan_for(load.size, PartLimits())
    # A resume is a HEAD and a PATCH.
    requests = load.requests + 2 * load.resumes
    later_requests = requests - 1
    if plan.is_one_part(load.size):
        writes = 2.0 if load.requests == 1 else 3.0
        reads = 2.0 * later_requests
    else:
        writes = plan.number_at(load.size - 1) + 4.0
        reads = 1.0 + 3.0 * later_requests
    writes += load.resumes
    if load.locker == "s3":
        # Each lock is an object that is written and deleted.
        return Calls(writes + requests + heartbeats(load), reads, requests + load.resumes)
    lock_writes = 2 * requests + heartbeats(load) if load.locker == "dynamodb" else 0.0
    return Calls(writes, reads, load.resumes, lock_writes)


def cpu(load: Load, costs: Costs) -> float:
    """Return the CPU seconds of one upload."""
    later_requests = load.requests - 1 + 2 * load.resumes
    return (
        costs.upload_cpu
        + later_requests * costs.request_cpu
        + load.size / GIB * costs.gib_cpu
        + heartbeats(load) * costs.heartbeat_cpu
    )


@dataclass(frozen=True, slots=True)
class Capacity:
    """What a load needs. Rates are those of the busiest minute.

    Attributes:
        uploads: uploads per second.
        bandwidth: bytes per second from the clients, and as many to S3.
        running: requests at a time.
        cpu: CPU seconds of one upload.
        workers: processes, each of which uses the share `Load.utilization` of a core.
        memory: bytes of a worker, at most.
        disk: bytes of a worker, for parts of slow clients beyond the memory budget.
        writes: calls per second that change the bucket.
        reads: calls per second that read it.
        lock_writes: writes of DynamoDB per second.
        prefixes: partitions that S3 has to split the keys into, by their prefixes.
        dollars: USD per month, by what they pay for.
    """

    uploads: float
    bandwidth: float
    running: float
    cpu: float
    workers: int
    memory: float
    disk: float
    writes: float
    reads: float
    lock_writes: float
    prefixes: int
    dollars: dict[str, float] = field(default_factory=dict)


def capacity(load: Load, costs: Costs | None = None, prices: Prices | None = None) -> Capacity:
    """Return what a load needs, with the default costs and prices if they are None."""
    costs = costs or Costs()
    one, seconds = calls(load), cpu(load, costs)
    uploads = load.uploads_per_month / MONTH * load.peak
    running = uploads * duration(load)
    cores = uploads * seconds / load.utilization
    workers = max(1, math.ceil(cores), math.ceil(running / costs.connections))
    requests_per_worker = running / workers
    part = min(load.size, plan_for(load.size, PartLimits()).size(1))
    writes, reads = uploads * (one.writes + one.deletes), uploads * one.reads
    return Capacity(
        uploads=uploads,
        bandwidth=uploads * load.size,
        running=running,
        cpu=seconds,
        workers=workers,
        memory=costs.worker_memory
        + load.memory_budget
        + requests_per_worker * costs.connection_memory,
        disk=max(0.0, requests_per_worker * part - load.memory_budget),
        writes=writes,
        reads=reads,
        lock_writes=uploads * one.lock_writes,
        prefixes=math.ceil(max(1, writes / WRITES_PER_PREFIX, reads / READS_PER_PREFIX)),
        dollars=_dollars(load, one, workers, prices or Prices()),
    )


def _dollars(load: Load, one: Calls, workers: int, prices: Prices) -> dict[str, float]:
    """Return the USD per month by what they pay for. `one` has the calls of one upload."""
    count = load.uploads_per_month
    return {
        "S3 requests": count * (one.writes * prices.write + one.reads * prices.read),
        "locks in DynamoDB": count * one.lock_writes * prices.lock_write,
        "workers": workers * MONTH / 3600 * prices.core_hour,
    }


def report(load: Load) -> str:
    """Return what a load needs, as lines of text."""
    found = capacity(load)
    one = calls(load)
    lines = {
        "uploads": f"{found.uploads:,.1f}/s in the busiest minute",
        "bandwidth": f"{found.bandwidth / MIB:,.0f} MiB/s from clients, and as much to S3",
        "requests at a time": f"{found.running:,.0f}",
        "CPU of an upload": f"{found.cpu * 1000:.1f} ms",
        "workers": f"{found.workers:,}, each with a core of which it uses "
        f"{load.utilization:.0%} at most",
        "memory of a worker": f"{found.memory / MIB:,.0f} MiB",
        "disk of a worker": f"{found.disk / MIB:,.0f} MiB for parts of slow clients",
        "S3 calls of an upload": f"{one.writes:.1f} writes, {one.reads:.1f} reads, "
        f"{one.deletes:.1f} deletions",
        "S3 calls": f"{found.writes:,.0f}/s that write, {found.reads:,.0f}/s that read: "
        f"{found.prefixes} key partition(s)",
        "writes of DynamoDB": f"{found.lock_writes:,.0f}/s",
        **{f"USD a month, {name}": f"{value:,.0f}" for name, value in found.dollars.items()},
    }
    width = max(map(len, lines))
    return "".join(f"{name:{width}}  {text}\n" for name, text in lines.items())


EXAMPLES: tuple[tuple[str, Load], ...] = (
    ("one host", Load(uploads_per_month=1e6, size=5 * MIB, locker="file")),
    ("", Load(uploads_per_month=10e6, size=5 * MIB)),
    ("", Load(uploads_per_month=100e6, size=5 * MIB)),
    ("one request each", Load(uploads_per_month=100e6, size=5 * MIB, requests=1)),
    ("locks in S3", Load(uploads_per_month=100e6, size=5 * MIB, locker="s3")),
    ("slow clients", Load(uploads_per_month=100e6, size=5 * MIB, client_rate=64 * KIB)),
    ("videos", Load(uploads_per_month=10e6, size=GIB, client_rate=2 * MIB)),
    ("1,000 workers", Load(uploads_per_month=25e9, size=5 * MIB)),
)


def table() -> str:
    """Return the needs of the examples as a Markdown table."""
    head = (
        "| uploads a month | size | uploads/s | MiB/s | requests at a time | workers "
        "| S3 writes/s (key partitions) | USD a month: S3 + locks + workers |"
    )
    rows = [head, "|" + "---|" * (head.count("|") - 1)]
    for note, load in EXAMPLES:
        found = capacity(load)
        name = f"{load.uploads_per_month / 1e6:,.0f} million{', ' + note if note else ''}"
        dollars = " + ".join(f"{value:,.0f}" for value in found.dollars.values())
        cells = (
            name,
            build_size(load.size),
            f"{found.uploads:,.0f}",
            f"{found.bandwidth / MIB:,.0f}",
            f"{found.running:,.0f}",
            f"{found.workers:,}",
            f"{found.writes:,.0f} ({found.prefixes})",
            dollars,
        )
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def _parser() -> argparse.ArgumentParser:
    defaults = Load(uploads_per_month=1e6, size=5 * MIB)
    parser = argparse.ArgumentParser(prog="python -m benchmarks.capacity", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("--table", action="store_true", help="print the table of docs/capacity.md")
    add("--uploads-per-month", type=float, default=defaults.uploads_per_month, metavar="N")
    add("--size", type=parse_size, default=defaults.size, help="of a file: 5MiB")
    add("--peak", type=float, default=defaults.peak, help="busiest minute / average")
    add("--requests", type=int, default=defaults.requests, help="requests of an upload: 1 or more")
    add("--resumes", type=float, default=defaults.resumes, help="interruptions of an upload")
    add("--client-rate", type=parse_size, default=defaults.client_rate, help="bytes/s of a client")
    add("--locker", choices=LOCKERS, default=defaults.locker, help="the value of TUS_LOCKER")
    add("--memory-budget", type=parse_size, default=defaults.memory_budget)
    add("--utilization", type=float, default=defaults.utilization, help="share of a core: 0.6")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    options = vars(_parser().parse_args(arguments))
    if options.pop("table"):
        print(table(), end="")
    else:
        print(report(Load(**options)), end="")


if __name__ == "__main__":
    main()
