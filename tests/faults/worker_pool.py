"""Run many cases at once, in processes with a fault proxy each.

A case that waits for a timeout delays only its own process.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager

from botocore.retries.standard import ExponentialBackoff

from tests.faults.case_runner import Case, CaseResult, run_case
from tests.faults.faulty_s3 import FaultyS3, open_faulty_s3
from tests.harness.lockers import LockerSpec
from tests.harness.servers.s3_service import S3Service

PROCESSES = 2 * (os.cpu_count() or 1)
"""More than there are processors, because a case mostly waits for the service or for a timeout."""

_exit_stack = contextlib.ExitStack()
_faulty_s3: list[FaultyS3] = []


class WorkerPool:
    """Run cases against one service."""

    def __init__(self, executor: ProcessPoolExecutor) -> None:
        self._executor = executor

    def run(self, cases: Iterable[Case]) -> Iterator[CaseResult]:
        """Run the cases; the results arrive in their order."""
        return self._executor.map(_run, list(cases))


@contextmanager
def open_worker_pool(
    service: S3Service, part_size: int, lock_specs: Mapping[str, LockerSpec] | None = None
) -> Iterator[WorkerPool]:
    """Start the processes; they end with the block.

    Args:
        service: the S3 service.
        part_size: bytes of a part.
        lock_specs: the places of locks of two servers, by their kinds.
    """
    with ProcessPoolExecutor(
        PROCESSES,
        # A forked process would inherit locks whose threads it does not have.
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start,
        initargs=(service, part_size, lock_specs),
    ) as executor:
        yield WorkerPool(executor)


def _start(service: S3Service, part_size: int, lock_specs: Mapping[str, LockerSpec] | None) -> None:
    warnings.simplefilter("error")
    # Faults are logged by the thousand, as they should be.
    logging.disable(logging.CRITICAL)
    # boto3 would wait for seconds before it repeats a call.
    ExponentialBackoff.delay_amount = _no_delay  # type: ignore[method-assign, assignment]
    _faulty_s3.append(_exit_stack.enter_context(open_faulty_s3(service, part_size, lock_specs)))


def _no_delay(_backoff: ExponentialBackoff, _context: object) -> float:
    return 0.0


def _run(case: Case) -> CaseResult:
    return run_case(_faulty_s3[0], case)
