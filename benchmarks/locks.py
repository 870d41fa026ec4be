"""Prints how long locks take to pass on, and what their calls cost, as the tables of docs/locks.md.

    python -m benchmarks.locks [SAMPLES]

It starts DynamoDB Local and SeaweedFS, and takes a few minutes. Needs the extra `test`.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from tests.contracts.locking import Nursery
from tests.harness.dynamodb import running_dynamodb
from tests.harness.lockers import LEASES, Place, bucket_place
from tests.locks.handover import Holder, measure, percentile
from tus_wsgi.dev.seaweedfs import start_seaweedfs
from tus_wsgi.lockers.records import Times
from tus_wsgi.model import UploadId

SAMPLES = 50


@contextmanager
def places(directory: Path) -> Iterator[list[Place]]:
    """One of each kind."""
    with ExitStack() as stack:
        database = stack.enter_context(running_dynamodb(directory))
        server = stack.enter_context(start_seaweedfs(directory / "s3"))
        yield [
            Place(kind="memory"),
            Place(kind="file", at=str(directory / "locks")),
            Place(kind="dynamodb", at=database.new_table(), environ=database.environ()),
            bucket_place(server, times=Times()),
        ]


def knows(place: Place, holder: Holder) -> bool:
    """Whether there is anything to measure."""
    if place.kind in LEASES:
        return True
    return holder in {Holder.HEALTHY, Holder.STALLED} or (
        place.kind == "file" and holder is Holder.KILLED
    )


def uncontended(place: Place, samples: int) -> list[float]:
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


def main() -> None:
    samples = int(sys.argv[1]) if len(sys.argv) > 1 else SAMPLES
    with (
        tempfile.TemporaryDirectory() as directory,
        closing(Nursery(gevent=True)) as nursery,
        places(Path(directory)) as all_places,
    ):
        row("locker", "holder", "p50", "p99", "maximum")
        row(*["---"] * 5)
        for place in all_places:
            waited = uncontended(place, samples)
            cells = [f"{1000 * v:.1f} ms" for v in (percentile(waited, 50), percentile(waited, 99))]
            row(place.kind, "nobody", *cells, f"{1000 * waited[-1]:.1f} ms")
            for holder in Holder:
                if knows(place, holder):
                    waited = measure(place, holder, nursery, samples=samples)
                    figures = (percentile(waited, 50), percentile(waited, 99), waited[-1])
                    row(place.kind, holder, *(f"{figure:.2f} s" for figure in figures))


if __name__ == "__main__":
    main()
