"""A lock passes on in time, whatever has become of its holder.

    python -m benchmarks.locks

prints the whole table. Here are a few samples of each, of which the better half has to be in time,
once in a few tries: a machine that does much else delays some, and no lock can do anything about
it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.harness.lockers import LEASE_KINDS, new_locker_spec
from tests.lockers.locking import ForkServer
from tests.locks.handover import Holder, measure_all, percentile, side_by_side, targets

pytestmark = pytest.mark.locks

SAMPLES = 5

TRIES = 3


@pytest.fixture(scope="module")
def nursery() -> Iterator[ForkServer]:
    with closing(ForkServer(gevent=True)) as nursery:
        yield nursery


CASES = [
    pytest.param(kind, holders, id=f"{kind}-{'+'.join(holders)}")
    for kind in ("memory", "file", *LEASE_KINDS)
    for holders in side_by_side(kind)
]


@pytest.mark.parametrize(("kind", "holders"), CASES)
def test_a_lock_passes_on_in_time(
    kind: str,
    holders: tuple[Holder, ...],
    request: pytest.FixtureRequest,
    tmp_path: Path,
    nursery: ForkServer,
) -> None:
    spec = new_locker_spec(kind, request, tmp_path)
    late = set(holders)
    for _ in range(TRIES):
        waited = measure_all(spec, late, nursery, samples=SAMPLES)
        print({str(holder): [round(one, 2) for one in all] for holder, all in waited.items()})
        late = {one for one, all in waited.items() if percentile(all, 50) >= targets(kind)[one]}
        if not late:
            break
    assert not late
