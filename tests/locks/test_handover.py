"""A lock passes on in time, whatever has become of its holder.

    python -m benchmarks.locks

prints the whole table. Here are a few samples of each, of which the better half has to be in time:
a machine that does much else delays some, and no lock can do anything about it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.contracts.locking import Nursery
from tests.harness.lockers import LEASES, new_place
from tests.locks.handover import Holder, measure, percentile

pytestmark = pytest.mark.locks

SAMPLES = 5

LEASE_TARGETS = {
    Holder.HEALTHY: 2.5,
    Holder.STALLED: 2.5,
    Holder.KILLED: 9.0,
    Holder.STOPPED: 9.0,
}

TARGETS = {
    ("memory", Holder.HEALTHY): 0.5,
    ("memory", Holder.STALLED): 0.5,
    ("file", Holder.HEALTHY): 0.5,
    ("file", Holder.STALLED): 0.5,
    ("file", Holder.KILLED): 0.2,
    **{(kind, holder): target for kind in LEASES for holder, target in LEASE_TARGETS.items()},
}
"""Seconds. The kernel knows nothing of a stopped holder's silence: it keeps its lock."""


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with closing(Nursery(gevent=True)) as nursery:
        yield nursery


@pytest.mark.parametrize(("kind", "holder"), TARGETS, ids=str)
def test_a_lock_passes_on_in_time(
    kind: str,
    holder: Holder,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    nursery: Nursery,
) -> None:
    place = new_place(kind, request, tmp_path)
    waited = measure(place, holder, nursery, samples=SAMPLES)
    print([round(one, 2) for one in waited])
    assert percentile(waited, 50) < TARGETS[kind, holder]
