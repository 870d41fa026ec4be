"""Whatever happens to an upload in S3, and in whatever order: the file arrives as it was sent."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.faults.machine import UploadMachine
from tests.faults.ring import Lane


@pytest.mark.faults
@pytest.mark.property
@pytest.mark.timeout(900)
def test_the_offset_is_monotone_and_the_bytes_are_the_file(lane: Lane) -> None:
    """Create, append, cut, fail, lose an answer, restart, write late, HEAD, finish, terminate."""
    UploadMachine.lane = lane
    run_state_machine_as_test(
        UploadMachine,
        settings=settings(
            # Each example is a hundred requests or so.
            max_examples=min(settings().max_examples, 120),
            stateful_step_count=25,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )
