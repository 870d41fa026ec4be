"""Prints how long locks take to pass on, and what their calls cost, as the tables of docs/locks.md.

    python -m benchmarks.locks [SAMPLES]    seconds from a request to its turn
    python -m benchmarks.locks held         what the kernel's locks cost while many are held

The first one starts DynamoDB Local and SeaweedFS, takes ten minutes, and ends with 1 if a target is
missed. Needs the extra `test`.
"""

from __future__ import annotations

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
from tests.lockers.locking import Nursery
from tests.locks.handover import Holder, measure_all, percentile, side_by_side, targets
from tus_wsgi.domain.model import UploadId
from tus_wsgi.lockers.file import ofd as kernel
from tus_wsgi.lockers.file.locker import place_of, seat_of
from tus_wsgi.lockers.file.ofd import ByteLocks
from tus_wsgi.lockers.lease.records import LeaseTiming

SAMPLES = 100

LEASE_SHARE = 2
"""Of leases there are so many times fewer samples: each takes as long as the lease."""

HELD = (10, 1_000, 10_000)
"""Locks that a host's workers hold at the same time."""

WORKERS = 4
"""Processes that they are spread over. To the kernel a process is one open file description."""

TURNS = 300
"""How often something is done to find out how long it takes."""


@contextmanager
def places(directory: Path) -> Iterator[list[LockerSpec]]:
    """One of each kind."""
    with ExitStack() as stack:
        database = stack.enter_context(running_dynamodb(directory))
        server = stack.enter_context(start_seaweedfs(directory / "s3"))
        yield [
            LockerSpec(kind="memory"),
            LockerSpec(kind="file", location=str(directory / "locks")),
            LockerSpec(kind="dynamodb", location=database.new_table(), environ=database.environ()),
            s3_locker_spec(server, times=LeaseTiming()),
        ]


def uncontended(place: LockerSpec, samples: int) -> list[float]:
    """Seconds for taking a lock that nobody has, and giving it back."""
    os.environ.update(place.environ)
    locker = place.locker(5.0)
    taken: list[float] = []
    for number in range(samples + 1):
        began = time.perf_counter()
        with locker.lock(UploadId(f"free{number}"), on_release_request=lambda: None):
            pass
        taken.append(time.perf_counter() - began)
    return sorted(taken[1:])  # the first one opens connections


def row(*cells: str) -> None:
    print("| " + " | ".join(cells) + " |", flush=True)


def heading(*cells: str) -> None:
    row(*cells)
    row(*["---"] * len(cells))


def hand_over(samples: int) -> int:
    """Print the table; 1 if a hundredth of the samples is beyond its target, else 0."""
    missed: list[str] = []
    with (
        tempfile.TemporaryDirectory() as directory,
        closing(Nursery(gevent=True)) as nursery,
        places(Path(directory)) as all_places,
    ):
        heading("locker", "holder", "samples", "p50", "p99", "maximum", "target")
        for place in all_places:
            count = max(1, samples // (LEASE_SHARE if place.kind in LEASE_KINDS else 1))
            waited = uncontended(place, samples)
            figures = (percentile(waited, 50), percentile(waited, 99), waited[-1])
            cells = [f"{1000 * figure:.1f} ms" for figure in figures]
            row(place.kind, "nobody", str(samples), *cells, "")
            for holders in side_by_side(place.kind):
                for holder, waited in measure_all(place, holders, nursery, samples=count).items():
                    if not tell(place.kind, holder, waited):
                        missed.append(f"{place.kind} {holder}")
    print(f"targets missed: {', '.join(missed)}" if missed else "targets met")
    return 1 if missed else 0


def tell(kind: str, holder: Holder, waited: list[float]) -> bool:
    """Print a row; whether 99 in 100 are in time."""
    target = targets(kind)[holder]
    figures = (percentile(waited, 50), percentile(waited, 99), waited[-1])
    cells = [f"{figure:.2f} s" for figure in figures]
    row(kind, holder, str(len(waited)), *cells, f"{target} s")
    return figures[1] < target


def held() -> None:
    """Print what a call costs by how many locks are held, in one file and in several."""
    several = kernel.FILES
    heading("locks held", "files", "take and drop", "a look of the watcher")
    for count in HELD:
        for files in (1, several):
            kernel.FILES = files
            with tempfile.TemporaryDirectory() as directory:
                row(
                    f"{count:,}", str(files), *(f"{one:,.0f} µs" for one in costs(directory, count))
                )
    kernel.FILES = several


def costs(directory: str, count: int) -> tuple[float, float]:
    """Microseconds of processor time for two things, while all workers together hold `count` locks.

    The first is to take the seat and the place of a request and to drop them, and the second to
    look at the seats of all that this worker holds.
    """
    workers = [ByteLocks(Path(directory)) for _ in range(WORKERS)]
    seats: list[set[int]] = [set() for _ in workers]
    for number in range(count):
        place = random_place()
        assert workers[number % WORKERS].take(place)
        seats[number % WORKERS].add(seat_of(place))
    own = workers[0]

    def take_and_drop() -> None:
        place = random_place()
        for name in (seat_of(place), place):
            assert own.take(name)
        for name in (seat_of(place), place):
            own.drop(name)

    def look() -> None:
        assert not own.taken_elsewhere(seats[0])

    taken = microseconds(take_and_drop), microseconds(look)
    for worker in workers:
        worker.close()
    return taken


def random_place() -> int:
    return place_of(UploadId(secrets.token_hex(8)))


def microseconds(act: Callable[[], None]) -> float:
    """Of processor time, the kernel's as well; the median."""
    taken: list[float] = []
    for _ in range(TURNS):
        began = time.process_time()
        act()
        taken.append(1e6 * (time.process_time() - began))
    return percentile(sorted(taken), 50)


def main(arguments: list[str]) -> int:
    if arguments == ["held"]:
        held()
        return 0
    return hand_over(int(arguments[0]) if arguments else SAMPLES)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
