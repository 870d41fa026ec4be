"""Whatever happens to an upload in S3, and in whatever order: the file arrives as it was sent."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.faults.faulty_s3 import Lane
from tests.faults.state_machine import SharedMachine, UploadMachine

pytestmark = [pytest.mark.faults, pytest.mark.property, pytest.mark.timeout(1200)]

EXAMPLES = [20, pytest.param(100, marks=pytest.mark.long)]
"""Each is some hundred requests."""


def run(machine: type[UploadMachine], examples: int) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=25,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )


@pytest.mark.parametrize("examples", EXAMPLES)
def test_the_offset_is_monotone_and_the_bytes_are_the_file(lane: Lane, examples: int) -> None:
    """Create, append, cut, fail, lose an answer, restart, write late, HEAD, finish, terminate."""
    UploadMachine.lane = lane
    run(UploadMachine, examples)


@pytest.mark.parametrize("examples", EXAMPLES)
def test_no_memo_is_taken_for_what_another_process_has_changed(
    lane: Lane, tmp_path: Path, examples: int
) -> None:
    """The same with two processes that share their locks, and take turns."""
    SharedMachine.lane = lane
    SharedMachine.directory = tmp_path
    run(SharedMachine, examples)
