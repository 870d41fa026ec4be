"""Two things go wrong at once: no byte is lost, duplicated or left behind.

Pairs of faults prove the rules where they depend on each other: a call of unknown outcome and a
refused retry (D-09), an answer that looks like absence (D-07, D-08), a holder that wakes up after a
successor has continued (D-10, D-11), and a sweep at any moment (D-08, D-12).

The long runs read their size and seed from the environment:

    FAULT_PAIRS=20000 FAULT_SEED=1 script/test tests/faults/test_pairs.py -m long
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable

import pytest

from tests.faults.case_runner import Case, CaseResult
from tests.faults.matrix import CORE, Matrix
from tests.faults.pairs import REST, SHORT, CallCounts, PairSampler, all_pairs, kind_of
from tests.faults.scenarios import SCENARIOS
from tests.faults.worker_pool import WorkerPool

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

SIZE = int(os.environ.get("FAULT_PAIRS", "20000"))
"""Pairs of the long run with tiny parts."""

SEED = int(os.environ.get("FAULT_SEED", "1"))

CI_SIZE = 100
"""Pairs of each of the `CI_RUNS`."""

CI_RUNS = 10

SHARE_OVER_HTTP = 10
"""The run over HTTP has this many times fewer pairs than the long run with tiny parts."""

SHARE_ON_A_DISK = 40
"""The same for the run with parts of 5 MiB."""

REPORT_INTERVAL = 10.0
"""Seconds between two reports of the progress."""

Report = Callable[[str], None]


@pytest.fixture
def report(request: pytest.FixtureRequest) -> Report:
    """A function that writes a line to the terminal, past pytest's capture."""
    plugins = request.config.pluginmanager
    reporter, capture = plugins.get_plugin("terminalreporter"), plugins.get_plugin("capturemanager")

    def report(line: str) -> None:
        if reporter is not None and capture is not None:
            with capture.global_and_fixture_disabled():
                reporter.write_line(line)
                reporter.flush()

    return report


def assert_no_problems(
    matrix: Matrix, server: str, pool: WorkerPool, cases: Iterable[Case], report: Report
) -> None:
    """Run the cases, count them in the matrix, and show the progress.

    Raises:
        AssertionError: a case failed, or both faults hit a call in less than half of the cases.
    """
    planned = list(cases)
    failed: list[CaseResult] = []
    cases_with_all_faults = 0
    reported = time.monotonic()
    for number, result in enumerate(pool.run(planned), 1):
        matrix.count(server, result.case.scenario, kind_of(result.case), bool(result.problems))
        if len(result.hit) == len(result.case.faults):
            cases_with_all_faults += 1
        if result.problems:
            failed.append(result)
            report(str(result))
        if time.monotonic() - reported > REPORT_INTERVAL:
            reported = time.monotonic()
            report(f"{server}: {number} of {len(planned)} cases, {len(failed)} failures")
    assert not failed, f"{len(failed)} of {len(planned)} cases failed, and are shown above"
    # In some cases the second fault would come after the last call, and hits nothing.
    assert 2 * cases_with_all_faults >= len(planned), (
        f"both faults hit a call in {cases_with_all_faults} of {len(planned)} cases"
    )


@pytest.fixture(scope="module")
def counts(embedded_pool: WorkerPool) -> CallCounts:
    return CallCounts(embedded_pool.run)


@pytest.mark.parametrize("run", range(CI_RUNS))
def test_no_byte_is_lost_in_a_sample_of_pairs(
    matrix: Matrix, embedded_pool: WorkerPool, counts: CallCounts, run: int, report: Report
) -> None:
    """The same 1,000 pairs in each run."""
    cases = PairSampler(run, list(SCENARIOS), counts, ["file", "s3"]).draw(CI_SIZE)
    assert_no_problems(matrix, "MiniStack, pairs", embedded_pool, cases, report)


@pytest.mark.long
@pytest.mark.timeout(0)
@pytest.mark.parametrize("scenario", SHORT)
def test_no_byte_is_lost_in_any_pair_of_a_short_scenario(
    matrix: Matrix, embedded_pool: WorkerPool, scenario: str, report: Report
) -> None:
    cases = all_pairs(scenario, embedded_pool.run)
    assert_no_problems(matrix, "MiniStack, pairs", embedded_pool, cases, report)


@pytest.mark.long
@pytest.mark.timeout(0)
def test_no_byte_is_lost_in_many_pairs(
    matrix: Matrix, embedded_pool_with_dynamodb: WorkerPool, report: Report
) -> None:
    pool = embedded_pool_with_dynamodb
    sampler = PairSampler(SEED, REST, CallCounts(pool.run), ["file", "s3", "dynamodb"])
    cases = sampler.draw(SIZE)
    assert_no_problems(matrix, "MiniStack, pairs", pool, cases, report)


@pytest.mark.long
@pytest.mark.timeout(0)
def test_no_byte_is_lost_in_pairs_over_http(
    matrix: Matrix, ministack_pool: WorkerPool, report: Report
) -> None:
    """With sockets between boto3 and the service."""
    sampler = PairSampler(SEED, list(SCENARIOS), CallCounts(ministack_pool.run), ["file"])
    cases = sampler.draw(SIZE // SHARE_OVER_HTTP)
    assert_no_problems(matrix, "MiniStack over HTTP, pairs", ministack_pool, cases, report)


@pytest.mark.long
@pytest.mark.timeout(0)
def test_no_byte_is_lost_in_pairs_on_a_disk(
    matrix: Matrix, seaweedfs_pool: WorkerPool, report: Report
) -> None:
    """With parts of 5 MiB, and a server that verifies what it receives."""
    sampler = PairSampler(SEED, CORE, CallCounts(seaweedfs_pool.run), ["file", "s3"])
    cases = sampler.draw(SIZE // SHARE_ON_A_DISK)
    assert_no_problems(matrix, "SeaweedFS, pairs", seaweedfs_pool, cases, report)
