"""Many cases at once: processes with a lane each. Stalled cases wait for nobody's sake."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import warnings
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager

from tests.faults.case_runner import Case, Outcome, run_case
from tests.faults.faulty_s3 import Lane, open_lane
from tests.harness.servers.s3_service import S3Service

PROCESSES = 2 * (os.cpu_count() or 1)
"""More than processors, since much of a case is waiting for the service, or for a timeout."""

_lanes = contextlib.ExitStack()
_lane: list[Lane] = []


class Pool:
    """Runs cases against one service."""

    def __init__(self, executor: ProcessPoolExecutor) -> None:
        self._executor = executor

    def run(self, cases: Iterable[Case]) -> Iterator[Outcome]:
        """Run them all; the verdicts come in the order of the cases."""
        return self._executor.map(_run, list(cases))


@contextmanager
def open_pool(service: S3Service, part_size: int) -> Iterator[Pool]:
    """A pool, until the block ends."""
    with ProcessPoolExecutor(
        PROCESSES,
        # A forked process would have this one's locks, held by threads that it has not.
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_begin,
        initargs=(service, part_size),
    ) as executor:
        yield Pool(executor)


def _begin(service: S3Service, part_size: int) -> None:
    warnings.simplefilter("error")
    # Faults are logged as they should be, by the thousand.
    logging.disable(logging.CRITICAL)
    _lane.append(_lanes.enter_context(open_lane(service, part_size)))


def _run(case: Case) -> Outcome:
    return run_case(_lane[0], case)
